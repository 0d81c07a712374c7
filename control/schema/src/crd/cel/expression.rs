//! Expressions over one value without a schema: the claims of a token, a user.

use serde_json::Value as Json;

use super::eval::{Evaluator, Fault};
use super::types::{self, Declared, Scope, Type};
use super::{MAX_CALL, syntax};

const TOO_COSTLY: &str = "operation cancelled: actual cost limit exceeded";

/// A compiled expression over one variable.
#[derive(Clone, Debug)]
pub struct Expression {
    source: String,
    variable: &'static str,
    expr: syntax::Expr,
    is_bool: bool,
}

/// What is known of a variable by its name: a user has fields, claims have any, of anything else nothing is known.
fn declared(variable: &str) -> Declared {
    let text = || Declared::plain(Type::Text);
    let texts = || Declared::list(text(), 0);
    match variable {
        "claims" => Declared::map(Declared::plain(Type::Any), 0),
        "user" => Declared::object(
            "kubernetes.UserInfo",
            [
                ("username", text()),
                ("uid", text()),
                ("groups", texts()),
                ("extra", Declared::map(texts(), 0)),
            ],
        ),
        _ => Declared::plain(Type::Dyn),
    }
}

impl Expression {
    /// # Errors
    /// No expression, or one that names what there is not, or whose types do not fit, in the original's words.
    pub fn new(source: &str, variable: &'static str) -> Result<Self, String> {
        let failed = |error| format!("compilation failed: {error}");
        let checked =
            types::compile(source, &Scope::new([(variable, declared(variable))])).map_err(failed)?;
        let is_bool = matches!(checked.of(), Type::Bool);
        let expr = syntax::compile(source).map_err(failed)?;
        Ok(Self { source: source.to_owned(), variable, expr, is_bool })
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is not known to be a boolean, whatever the value is.
    pub fn is_no_bool(&self) -> bool {
        !self.is_bool
    }

    /// Whether it reads this field of its variable, and not only one of the whole.
    pub fn reads(&self, field: &str) -> bool {
        self.expr.reads(self.variable, field)
    }

    /// What it says of a value.
    ///
    /// # Errors
    /// It cannot be evaluated, costs more than [`MAX_CALL`], or its answer has no form in JSON.
    pub fn answer(&self, value: &Json) -> Result<Json, String> {
        let mut evaluator = Evaluator::over(self.variable, value, MAX_CALL);
        match evaluator.answer(&self.expr) {
            Ok(answer) if answer.whole_cost(MAX_CALL) > MAX_CALL => Err(TOO_COSTLY.to_owned()),
            Ok(answer) => answer.as_json().ok_or_else(|| format!("unexpected type {}", answer.type_name())),
            Err(Fault::Error(error)) => Err(error),
            Err(Fault::Cost) => Err(TOO_COSTLY.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_expression_answers_of_any_value() {
        let claims = json!({"sub": "ann", "groups": ["a", "b"], "n": 2.5, "deep": {"x.y": true}});
        let answer = |source: &str| Expression::new(source, "claims").expect(source).answer(&claims);
        assert_eq!(answer("'u:' + claims.sub"), Ok(json!("u:ann")));
        assert_eq!(answer("claims.groups.map(g, 'p-' + g)"), Ok(json!(["p-a", "p-b"])));
        assert_eq!(answer("has(claims.none) ? 1 : 2"), Ok(json!(2)));
        assert_eq!(answer("claims.?none.orValue('x')"), Ok(json!("x")));
        assert_eq!(answer("claims.deep.x__dot__y && claims.n > 2"), Ok(json!(true)));
        assert_eq!(answer("claims.none"), Err("no such key: none".to_owned()));
        assert!(Expression::new("self.x", "claims").is_err(), "another variable");
        let reads = |source: &str| Expression::new(source, "claims").expect(source).reads("email");
        assert!(reads("[claims.email].size() > 0") && reads("claims.?email.orValue('')"));
        assert!(!reads("claims.sub.email"));
    }
}
