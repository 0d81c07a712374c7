//! Expressions as they are checked: every part numbered, every macro of Kubernetes' libraries written out.

use cel::common::ast::{EntryExpr, Expr as Parsed, IdedExpr, LiteralValue, operators as op};

/// The results of loops, a name that no source can have.
pub(super) const RESULT: &str = "@result";

#[derive(Debug)]
pub(in super::super) struct Node {
    /// Its number, from 0.
    pub id: usize,
    /// Where the parser found it; with [`PAST`], where the name that is there ends.
    pub place: u64,
    pub part: Part,
}

#[derive(Debug)]
pub(in super::super) enum Part {
    Literal(Literal),
    Name(String),
    Select {
        of: Box<Node>,
        field: String,
        test: bool,
    },
    Call {
        name: String,
        target: Option<Box<Node>>,
        args: Vec<Node>,
    },
    List(Vec<(Node, bool)>),
    Map(Vec<(Node, Node, bool)>),
    Struct {
        name: String,
        fields: Vec<(u64, String, Node)>,
    },
    Fold(Box<Fold>),
    /// `x.optMap(name, body)`, and `optFlatMap`.
    OptMap {
        of: Box<Node>,
        name: String,
        body: Box<Node>,
        flat: bool,
    },
}

#[derive(Debug)]
pub(in super::super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A loop; one over nothing (`range` is empty) gives a value a name.
#[derive(Debug)]
pub(in super::super) struct Fold {
    pub range: Node,
    pub item: String,
    pub value: Option<String>,
    pub result: String,
    pub start: Node,
    pub goes_on: Node,
    pub step: Node,
    pub end: Node,
}

/// Added to the place of a name: CEL tells errors of calls at their parenthesis, and of objects at their brace.
pub(super) const PAST: u64 = 1 << 63;

/// What is wrong before there are types: where, and what.
pub(super) type Wrong = (u64, String);

/// Writes out what the parser gives.
pub(super) struct Builder {
    next: usize,
    /// `cel.bind` is a macro.
    binds: bool,
}

impl Builder {
    /// # Errors
    /// A macro that is used wrongly.
    pub fn build(parsed: &IdedExpr, binds: bool) -> Result<(Node, usize), Wrong> {
        let mut builder = Self { next: 0, binds };
        let root = builder.node(parsed)?;
        Ok((root, builder.next))
    }

    fn make(&mut self, place: u64, part: Part) -> Node {
        let id = self.next;
        self.next += 1;
        Node { id, place, part }
    }

    fn boxed(&mut self, parsed: &IdedExpr) -> Result<Box<Node>, Wrong> {
        Ok(Box::new(self.node(parsed)?))
    }

    fn node(&mut self, parsed: &IdedExpr) -> Result<Node, Wrong> {
        let part = match &parsed.expr {
            Parsed::Unspecified => Part::Literal(Literal::Null),
            Parsed::Literal(literal) => Part::Literal(match literal {
                LiteralValue::Boolean(set) => Literal::Bool(*set.inner()),
                LiteralValue::Bytes(bytes) => Literal::Bytes(bytes.inner().to_vec()),
                LiteralValue::Double(number) => Literal::Double(*number.inner()),
                LiteralValue::Int(number) => Literal::Int(*number.inner()),
                LiteralValue::Null => Literal::Null,
                LiteralValue::String(text) => Literal::Text(text.inner().to_owned()),
                LiteralValue::UInt(number) => Literal::Uint(*number.inner()),
            }),
            Parsed::Ident(name) => Part::Name(name.clone()),
            Parsed::Select(select) => Part::Select {
                of: self.boxed(&select.operand)?,
                field: select.field.clone(),
                test: select.test,
            },
            Parsed::Call(call) => {
                if let Some(target) = &call.target
                    && let Some(node) = self.library_macro(parsed.id, &call.func_name, target, &call.args)?
                {
                    return Ok(node);
                }
                let target = call.target.as_deref().map(|target| self.boxed(target)).transpose()?;
                let args = call.args.iter().map(|arg| self.node(arg)).collect::<Result<_, _>>()?;
                Part::Call { name: call.func_name.clone(), target, args }
            }
            Parsed::List(list) => {
                let mut items = Vec::with_capacity(list.elements.len());
                for (n, item) in list.elements.iter().enumerate() {
                    items.push((self.node(item)?, list.optional_indices.contains(&n)));
                }
                Part::List(items)
            }
            Parsed::Map(map) => {
                let mut entries = Vec::with_capacity(map.entries.len());
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        entries.push((self.node(&entry.key)?, self.node(&entry.value)?, entry.optional));
                    }
                }
                Part::Map(entries)
            }
            Parsed::Struct(made) => {
                let mut fields = Vec::with_capacity(made.entries.len());
                for entry in &made.entries {
                    if let EntryExpr::StructField(field) = &entry.expr {
                        fields.push((entry.id, field.field.clone(), self.node(&field.value)?));
                    }
                }
                Part::Struct { name: made.type_name.clone(), fields }
            }
            Parsed::Comprehension(fold) => Part::Fold(Box::new(Fold {
                range: self.node(&fold.iter_range)?,
                item: fold.iter_var.clone(),
                value: fold.iter_var2.clone(),
                result: fold.accu_var.clone(),
                start: self.node(&fold.accu_init)?,
                goes_on: self.node(&fold.loop_cond)?,
                step: self.node(&fold.loop_step)?,
                end: self.node(&fold.result)?,
            })),
        };
        let place = match &part {
            Part::Call { name, target: None, .. } if name.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                parsed.id | PAST
            }
            Part::Select { test: true, .. } | Part::Struct { .. } => parsed.id | PAST,
            _ => parsed.id,
        };
        Ok(self.make(place, part))
    }

    /// Macros that the parser does not know: of optional values, of loops over two variables, and `sortBy`.
    fn library_macro(
        &mut self,
        place: u64,
        name: &str,
        target: &IdedExpr,
        args: &[IdedExpr],
    ) -> Result<Option<Node>, Wrong> {
        match (name, args) {
            ("optMap" | "optFlatMap", [variable, body]) => {
                let Parsed::Ident(variable) = &variable.expr else {
                    return Err((variable.id, format!("{name}() variable name must be a simple identifier")));
                };
                let part = Part::OptMap {
                    of: self.boxed(target)?,
                    name: variable.clone(),
                    body: self.boxed(body)?,
                    flat: name == "optFlatMap",
                };
                Ok(Some(self.make(place, part)))
            }
            ("bind", [variable, value, body])
                if self.binds && matches!(&target.expr, Parsed::Ident(space) if space == "cel") =>
            {
                let Parsed::Ident(variable) = &variable.expr else {
                    let what = "cel.bind() variable names must be simple identifiers";
                    return Err((variable.id, what.to_owned()));
                };
                let range = self.make(place, Part::List(Vec::new()));
                let (start, body) = (self.node(value)?, self.node(body)?);
                let step = self.name(place, variable);
                let names = ("#unused".to_owned(), None);
                Ok(Some(self.fold(place, range, names, variable, start, step, Some(body))))
            }
            ("sortBy", [variable, key]) => {
                let variable = simple_name(variable)?;
                let input = "@__sortBy_input__";
                let range = self.name(place, input);
                let key = self.node(key)?;
                let start = self.make(place, Part::List(Vec::new()));
                let step = self.appended(place, key, None);
                let keys = self.fold(place, range, (variable, None), RESULT, start, step, None);
                let list = self.name(place, input);
                let call = Part::Call {
                    name: "@sortByAssociatedKeys".to_owned(),
                    target: Some(Box::new(list)),
                    args: vec![keys],
                };
                let end = self.make(place, call);
                let range = self.make(place, Part::List(Vec::new()));
                let start = self.node(target)?;
                let step = self.name(place, input);
                let names = ("#unused".to_owned(), None);
                Ok(Some(self.fold(place, range, names, input, start, step, Some(end))))
            }
            ("all" | "exists" | "existsOne" | "exists_one", [_, _, _])
            | ("transformList" | "transformMap" | "transformMapEntry", [_, _, _] | [_, _, _, _]) => {
                self.two_variables(place, name, target, args).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn two_variables(
        &mut self,
        place: u64,
        name: &str,
        target: &IdedExpr,
        args: &[IdedExpr],
    ) -> Result<Node, Wrong> {
        let names = (simple_name(&args[0])?, simple_name(&args[1])?);
        if names.0 == names.1 {
            return Err((args[1].id, format!("duplicate variable name: {}", names.0)));
        }
        let range = self.node(target)?;
        let condition = if args.len() == 4 { Some(self.node(&args[2])?) } else { None };
        let body = self.node(&args[args.len() - 1])?;
        let (start, step) = match name {
            "all" | "exists" => {
                let function = if name == "all" { op::LOGICAL_AND } else { op::LOGICAL_OR };
                let result = self.name(place, RESULT);
                let step = self.call(place, function, vec![result, body]);
                (self.make(place, Part::Literal(Literal::Bool(name == "all"))), step)
            }
            "existsOne" | "exists_one" => {
                let one = self.make(place, Part::Literal(Literal::Int(1)));
                let result = self.name(place, RESULT);
                let more = self.call(place, op::ADD, vec![result, one]);
                let same = self.name(place, RESULT);
                let step = self.call(place, op::CONDITIONAL, vec![body, more, same]);
                (self.make(place, Part::Literal(Literal::Int(0))), step)
            }
            "transformList" => {
                let step = self.appended(place, body, condition);
                (self.make(place, Part::List(Vec::new())), step)
            }
            _ => {
                let mut args = vec![self.name(place, RESULT)];
                if name == "transformMap" {
                    args.push(self.name(place, &names.0));
                }
                args.push(body);
                let step = self.call(place, "cel.@mapInsert", args);
                let step = self.under(place, step, condition);
                (self.make(place, Part::Map(Vec::new())), step)
            }
        };
        let end = name.starts_with("exists").then_some(()).filter(|()| name != "exists").map(|()| {
            let (result, one) = (self.name(place, RESULT), self.make(place, Part::Literal(Literal::Int(1))));
            self.call(place, op::EQUALS, vec![result, one])
        });
        Ok(self.fold(place, range, (names.0, Some(names.1)), RESULT, start, step, end))
    }

    fn name(&mut self, place: u64, name: &str) -> Node {
        self.make(place, Part::Name(name.to_owned()))
    }

    fn call(&mut self, place: u64, name: &str, args: Vec<Node>) -> Node {
        self.make(place, Part::Call { name: name.to_owned(), target: None, args })
    }

    /// `@result + [item]`, where the condition holds.
    fn appended(&mut self, place: u64, item: Node, condition: Option<Node>) -> Node {
        let list = self.make(place, Part::List(vec![(item, false)]));
        let result = self.name(place, RESULT);
        let step = self.call(place, op::ADD, vec![result, list]);
        self.under(place, step, condition)
    }

    fn under(&mut self, place: u64, step: Node, condition: Option<Node>) -> Node {
        let Some(condition) = condition else { return step };
        let same = self.name(place, RESULT);
        self.call(place, op::CONDITIONAL, vec![condition, step, same])
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a loop")]
    fn fold(
        &mut self,
        place: u64,
        range: Node,
        (item, value): (String, Option<String>),
        result: &str,
        start: Node,
        step: Node,
        end: Option<Node>,
    ) -> Node {
        // As the macros have it: `all` and `exists` end where they are decided, a name for a value never begins.
        let decided = match (&start.part, result) {
            (Part::Literal(Literal::Bool(all)), RESULT) => Some(*all),
            _ => None,
        };
        let goes_on = match decided {
            Some(all) => {
                let so_far = self.name(place, RESULT);
                let so_far = if all { so_far } else { self.call(place, op::LOGICAL_NOT, vec![so_far]) };
                self.call(place, op::NOT_STRICTLY_FALSE, vec![so_far])
            }
            None => self.make(place, Part::Literal(Literal::Bool(result == RESULT))),
        };
        let end = match end {
            Some(end) => end,
            None => self.name(place, result),
        };
        let fold = Fold { range, item, value, result: result.to_owned(), start, goes_on, step, end };
        self.make(place, Part::Fold(Box::new(fold)))
    }
}

fn simple_name(parsed: &IdedExpr) -> Result<String, Wrong> {
    match &parsed.expr {
        Parsed::Ident(name) => Ok(name.clone()),
        _ => Err((parsed.id, "argument must be a simple name".to_owned())),
    }
}

/// `a.b.c`, where a part is nothing but names.
pub(super) fn qualified(node: &Node) -> Option<String> {
    match &node.part {
        Part::Name(name) => Some(name.clone()),
        Part::Select { of, field, test: false } => Some(format!("{}.{field}", qualified(of)?)),
        _ => None,
    }
}
