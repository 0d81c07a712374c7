//! What calls of functions cost, and how large their results may be.

use cel::common::ast::operators as op;

use super::cost::Coster;
use super::kinds::{Head, Type};
use super::sizes::{REGEX, Size, TRAVERSAL, by_factor};
use super::tree::{Literal, Node, Part};

/// What a function is called with.
pub(super) struct Argument<'a> {
    /// Where it comes from: a variable and the names after it. Empty for what is made on the way.
    pub path: Vec<String>,
    pub of: &'a Type,
    pub node: &'a Node,
    pub size: Option<Size>,
}

/// Of named formats: what their regular expressions are taken to be long.
const FORMAT_REGEX: f64 = 128.0;

/// Letters of a named format.
const FORMAT: u64 = 64;

/// Two checks by the authorizer are as many as one expression may have.
const CHECK: u64 = 350_000;

impl Argument<'_> {
    pub fn known(&self) -> Size {
        self.size.unwrap_or(Size::UNKNOWN)
    }

    fn as_count(&self, otherwise: u64) -> u64 {
        match &self.node.part {
            Part::Literal(Literal::Int(n)) => u64::try_from(*n).unwrap_or(otherwise),
            _ => otherwise,
        }
    }
}

type Estimate = (u64, Option<Size>);

/// Without what making the arguments costs.
pub(super) fn call(
    coster: &Coster<'_>,
    function: &str,
    overload: &str,
    target: Option<&Argument<'_>>,
    args: &[Argument<'_>],
) -> Estimate {
    lists(overload, target, args)
        .or_else(|| kubernetes(coster, function, overload, target, args))
        .or_else(|| addresses(function, overload, args))
        .or_else(|| builtin(overload, target, args))
        .unwrap_or((1, None))
}

/// Of lists that are made anew, and of lists as sets.
fn lists(overload: &str, target: Option<&Argument<'_>>, args: &[Argument<'_>]) -> Option<Estimate> {
    let made = |factor: f64, size: Size| Some((size.cost(factor).saturating_add(11), Some(size)));
    match (overload, target, args) {
        ("sets" | "sets_twice", None, [a, b]) => {
            let factor = if overload == "sets" { 1.0 } else { 2.0 };
            Some((a.known().times(b.known()).cost(factor).saturating_add(1), None))
        }
        ("list_slice", Some(list), [from, to]) => {
            made(1.0, Size::of(to.as_count(list.known().most).wrapping_sub(from.as_count(0))))
        }
        ("lists_range", None, [count]) => made(1.0, Size::of(count.as_count(u64::MAX))),
        ("list_reverse", Some(list), []) => made(1.0, list.known()),
        ("list_flatten", Some(list), []) => made(1.0, list.known()),
        #[expect(clippy::cast_precision_loss, reason = "an estimate is rough")]
        ("list_flatten_int", Some(list), [depth]) => made(depth.as_count(u64::MAX) as f64, list.known()),
        ("list_distinct", Some(list), []) => made(2.0, list.known().times(list.known())),
        (id, Some(list), rest) if id.ends_with("_sort") || id.ends_with("_sort_by") => {
            let size = rest.first().unwrap_or(list).known();
            let texts = id.starts_with("list_string") || id.starts_with("list_bytes");
            made(if texts { 2.0 + TRAVERSAL } else { 2.0 }, size.times(size))
        }
        _ => None,
    }
}

/// Of Kubernetes' libraries.
fn kubernetes(
    coster: &Coster<'_>,
    function: &str,
    overload: &str,
    target: Option<&Argument<'_>>,
    args: &[Argument<'_>],
) -> Option<Estimate> {
    Some(match (function, target, args) {
        ("check", ..) => (CHECK, None),
        ("fieldSelector" | "labelSelector", _, [text]) => {
            let size = text.known();
            let parts = by_factor(by_factor(size.most, 0.5), 50.0);
            (size.cost(TRAVERSAL).saturating_add(parts).saturating_add(10), None)
        }
        ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", Some(list), _) => {
            match items(coster, list) {
                Some((of, size)) => {
                    let texts = matches!(of, Type::Text | Type::Bytes);
                    let each = if texts { size.cost(TRAVERSAL).saturating_add(1) } else { 1 };
                    (list.known().most.saturating_mul(each), None)
                }
                None => (list.known().cost(TRAVERSAL), None),
            }
        }
        ("url" | "jsonpatch.escapeKey", _, [text]) => (text.known().cost(TRAVERSAL), Some(text.known())),
        ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(text), _) => {
            (text.known().cost(TRAVERSAL), Some(text.known()))
        }
        ("replace", Some(text), [from, to, ..]) => {
            let size = replaced(text.known(), from.known(), to.known());
            (text.known().cost(2.0 * TRAVERSAL), Some(size))
        }
        ("split", Some(text), rest) => {
            let most = match rest.get(1).map(|most| &most.node.part) {
                #[expect(clippy::cast_sign_loss, reason = "as the original casts it")]
                Some(Part::Literal(Literal::Int(n))) => *n as u64,
                _ => text.known().most,
            };
            (text.known().cost(2.0 * TRAVERSAL), Some(Size { least: 0, most }))
        }
        ("join", Some(list), rest) => {
            let count = list.known();
            let mut size = items(coster, list).map_or(Size::of(0), |(_, each)| count.times(each));
            if let Some(by) = rest.first() {
                let between =
                    Size { least: count.least.saturating_sub(1), most: count.most.saturating_sub(1) };
                size = size.plus(by.known().times(between));
            }
            (size.cost(TRAVERSAL), Some(size))
        }
        ("find" | "findAll", Some(text), [pattern, ..]) => {
            let size = text.known();
            let cost = size.plus(Size::of(1)).cost(TRAVERSAL).saturating_mul(pattern.known().cost(REGEX));
            (cost, Some(Size { least: 0, most: size.most }))
        }
        ("quantity" | "isQuantity" | "semver" | "isSemver", _, [text, ..]) => {
            (text.known().cost(TRAVERSAL), None)
        }
        ("validate", _, [text]) => (by_factor(text.known().cost(TRAVERSAL), FORMAT_REGEX * REGEX), None),
        (
            "serviceAccount" | "path" | "group" | "resource" | "subresource" | "namespace" | "name"
            | "allowed" | "reason" | "error" | "errored" | "format.named" | "sign" | "asInteger"
            | "isInteger" | "asApproximateFloat" | "isGreaterThan" | "isLessThan" | "compareTo" | "add"
            | "sub" | "major" | "minor" | "patch" | "getScheme" | "getHostname" | "getHost" | "getPort"
            | "getEscapedPath" | "getQuery",
            ..,
        ) => (1, None),
        (op::EQUALS, _, [a, b]) if overload == "equals" => (same(a, b)?, None),
        _ => return None,
    })
}

/// Of addresses and networks, which are of 16 bytes at most.
fn addresses(function: &str, overload: &str, args: &[Argument<'_>]) -> Option<Estimate> {
    let bytes = by_factor(32, TRAVERSAL);
    Some(match (function, args) {
        ("ip", _) if overload == "cidr_ip" => (1, None),
        ("cidr" | "isIP" | "isCIDR" | "ip", [text]) => (text.known().cost(TRAVERSAL), None),
        ("ip.isCanonical", [text]) => (text.known().cost(2.0 * TRAVERSAL), None),
        ("containsIP" | "containsCIDR", [other]) => {
            // A network is masked too.
            let masked = if function == "containsIP" { 0 } else { by_factor(16, TRAVERSAL) + 1 };
            let parsed = if overload == "of_text" { other.known().cost(TRAVERSAL) } else { 0 };
            (parsed.saturating_add(bytes + masked), None)
        }
        (
            "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast",
            _,
        ) => (1, None),
        _ => return None,
    })
}

/// Of CEL's own functions and operators.
fn builtin(overload: &str, target: Option<&Argument<'_>>, args: &[Argument<'_>]) -> Option<Estimate> {
    Some(match (overload, target, args) {
        ("string_format", Some(text), _) => (text.known().cost(TRAVERSAL), None),
        ("string_to_bytes", _, [text]) => {
            let size = text.known();
            (size.cost(TRAVERSAL), Some(Size { least: size.least, most: size.most.wrapping_mul(4) }))
        }
        ("bytes_to_string", _, [bytes]) => {
            let size = bytes.known();
            (size.cost(TRAVERSAL), Some(Size { least: size.least / 4, most: size.most }))
        }
        ("strings_quote", _, [text]) => {
            let size = text.known();
            let most = size.most.wrapping_mul(2).wrapping_add(2);
            (size.cost(TRAVERSAL), Some(Size { least: size.least.saturating_add(2), most }))
        }
        ("starts_with_string" | "ends_with_string", _, [part]) => (part.known().cost(TRAVERSAL), None),
        ("in_list", _, [_, list]) => (list.known().cost(1.0), None),
        ("matches_string", Some(text), [pattern]) => {
            let text = text.known().plus(Size::of(1)).cost(TRAVERSAL);
            (text.saturating_mul(pattern.known().cost(REGEX)), None)
        }
        ("contains_string", Some(text), [part]) => {
            (text.known().cost(TRAVERSAL).saturating_mul(part.known().cost(TRAVERSAL)), None)
        }
        ("logical_or" | "logical_and", ..) => (0, None),
        ("add_list", _, [a, b]) => (1, Some(a.known().plus(b.known()))),
        ("add_string" | "add_bytes", _, [a, b]) => {
            let size = a.known().plus(b.known());
            (size.cost(TRAVERSAL), Some(size))
        }
        ("order_string" | "order_bytes" | "equals" | "not_equals", _, [a, b]) => {
            (by_factor(a.known().most.min(b.known().most), TRAVERSAL), None)
        }
        _ => return None,
    })
}

/// Items of a list, and how large each may be. `None`: no list.
fn items<'a>(coster: &Coster<'_>, list: &Argument<'a>) -> Option<(&'a Type, Size)> {
    let (_, [of, ..]) = list.of.head()? else { return None };
    // One that is made on the way has a path of its own, of which nothing is known.
    let mut path = list.path.clone();
    if !path.is_empty() {
        path.push("@items".to_owned());
    }
    Some((of, coster.declared_size(&path).unwrap_or(Size::UNKNOWN)))
}

/// How large a text becomes in which each `from` becomes `to`.
fn replaced(text: Size, from: Size, to: Size) -> Size {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "casts saturate, and an estimate is rough"
    )]
    let parts = |all: u64, each: u64| (all as f64 / each as f64).ceil() as u64;
    let (mut count, mut kept) = (Size::of(0), Size::of(0));
    if from.least == 0 {
        // Nothing is found around every letter.
        count.most = text.most.saturating_add(1);
        kept.most = text.most;
    } else if to.most <= from.least {
        kept.most = text.most;
    } else {
        count.most = parts(text.most, from.least);
    }
    if from.most == 0 {
        count.least = text.least.saturating_add(1);
        kept.least = text.least;
    } else if from.most <= to.least {
        kept.least = text.least;
    } else {
        count.least = parts(text.least, from.most);
    }
    count.times(to).plus(kept)
}

/// What comparing two values of a library costs.
fn same(a: &Argument<'_>, b: &Argument<'_>) -> Option<u64> {
    if !a.of.same(b.of) {
        return None;
    }
    match a.of {
        Type::Named("kubernetes.NamedFormat") => Some(by_factor(FORMAT, TRAVERSAL)),
        Type::Named("kubernetes.URL") => {
            let most = match (a.size, b.size) {
                (Some(_), Some(size)) => size.most,
                _ => 1,
            };
            Some(by_factor(most, TRAVERSAL))
        }
        Type::Named(_) => Some(1),
        other => match other.head() {
            Some((Head::Opaque("net.IP" | "net.CIDR"), _)) => Some(1),
            _ => None,
        },
    }
}
