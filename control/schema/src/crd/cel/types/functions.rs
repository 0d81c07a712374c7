//! Which functions there are, of what types: CEL's own and Kubernetes' libraries, as of 1.36.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::kinds::{Head, OPTIONAL, Type};

/// One way to call a function.
#[derive(Debug)]
pub(super) struct Overload {
    /// By which costs are told apart; `-` where they are not.
    pub id: String,
    pub member: bool,
    pub args: Vec<Type>,
    pub result: Type,
    /// Its parameters are numbered from 0.
    pub params: usize,
}

pub(super) type Functions = BTreeMap<&'static str, Vec<Overload>>;

/// A function, what tells its costs, its arguments (those of members after a dot) and its result.
/// `C` stands for each type with an order, `S` for each that can be summed up, `X Y` for each pair of unlike numbers;
/// `A`, `B` for any type.
const TABLE: &str = "
_?_:_ conditional (bool, A, A) A
_&&_ logical_and (bool, bool) bool
_||_ logical_or (bool, bool) bool
!_ - (bool) bool
@not_strictly_false - (bool) bool
_==_ equals (A, A) bool
_!=_ not_equals (A, A) bool
_+_ add_bytes (bytes, bytes) bytes
_+_ - (double, double) double
_+_ - (duration, duration) duration
_+_ - (duration, timestamp) timestamp
_+_ - (timestamp, duration) timestamp
_+_ - (int, int) int
_+_ add_list (list(A), list(A)) list(A)
_+_ add_string (string, string) string
_+_ - (uint, uint) uint
_-_ - (double, double) double
_-_ - (duration, duration) duration
_-_ - (int, int) int
_-_ - (timestamp, duration) timestamp
_-_ - (timestamp, timestamp) duration
_-_ - (uint, uint) uint
_*_ - (double, double) double
_*_ - (int, int) int
_*_ - (uint, uint) uint
_/_ - (double, double) double
_/_ - (int, int) int
_/_ - (uint, uint) uint
_%_ - (int, int) int
_%_ - (uint, uint) uint
-_ - (double) double
-_ - (int) int
_<_ order_C (C, C) bool
_<_ - (X, Y) bool
_<=_ order_C (C, C) bool
_<=_ - (X, Y) bool
_>_ order_C (C, C) bool
_>_ - (X, Y) bool
_>=_ order_C (C, C) bool
_>=_ - (X, Y) bool
_[_] index_list (list(A), int) A
_[_] index_map (map(A, B), A) B
_[_] - (optional(list(A)), int) optional(A)
_[_] - (optional(map(A, B)), A) optional(B)
_[?_] - (list(A), int) optional(A)
_[?_] - (optional(list(A)), int) optional(A)
_[?_] - (map(A, B), A) optional(B)
_[?_] - (optional(map(A, B)), A) optional(B)
@in in_list (A, list(A)) bool
@in - (A, map(A, B)) bool
size - (bytes) int
size - .(bytes) int
size - (list(A)) int
size - .(list(A)) int
size - (map(A, B)) int
size - .(map(A, B)) int
size - (string) int
size - .(string) int
type - (A) type(A)
dyn - (A) dyn
bool - (bool) bool
bool - (string) bool
bytes - (bytes) bytes
bytes string_to_bytes (string) bytes
double - (double) double
double - (int) double
double - (string) double
double - (uint) double
duration - (duration) duration
duration - (int) duration
duration - (string) duration
int - (int) int
int - (double) int
int - (duration) int
int - (string) int
int - (timestamp) int
int - (uint) int
string - (string) string
string - (bool) string
string bytes_to_string (bytes) string
string - (double) string
string - (duration) string
string - (int) string
string - (timestamp) string
string - (uint) string
string - (IP) string
string - (CIDR) string
timestamp - (timestamp) timestamp
timestamp - (int) timestamp
timestamp - (string) timestamp
uint - (uint) uint
uint - (double) uint
uint - (int) uint
uint - (string) uint
contains contains_string .(string, string) bool
endsWith ends_with_string .(string, string) bool
startsWith starts_with_string .(string, string) bool
matches - (string, string) bool
matches matches_string .(string, string) bool
getFullYear - .(timestamp) int
getFullYear - .(timestamp, string) int
getMonth - .(timestamp) int
getMonth - .(timestamp, string) int
getDayOfYear - .(timestamp) int
getDayOfYear - .(timestamp, string) int
getDayOfMonth - .(timestamp) int
getDayOfMonth - .(timestamp, string) int
getDate - .(timestamp) int
getDate - .(timestamp, string) int
getDayOfWeek - .(timestamp) int
getDayOfWeek - .(timestamp, string) int
getHours - .(timestamp) int
getHours - .(timestamp, string) int
getHours - .(duration) int
getMinutes - .(timestamp) int
getMinutes - .(timestamp, string) int
getMinutes - .(duration) int
getSeconds - .(timestamp) int
getSeconds - .(timestamp, string) int
getSeconds - .(duration) int
getMilliseconds - .(timestamp) int
getMilliseconds - .(timestamp, string) int
getMilliseconds - .(duration) int
charAt - .(string, int) string
indexOf - .(string, string) int
indexOf - .(string, string, int) int
indexOf - .(list(A), A) int
lastIndexOf - .(string, string) int
lastIndexOf - .(string, string, int) int
lastIndexOf - .(list(A), A) int
lowerAscii - .(string) string
upperAscii - .(string) string
replace - .(string, string, string) string
replace - .(string, string, string, int) string
split - .(string, string) list(string)
split - .(string, string, int) list(string)
substring - .(string, int) string
substring - .(string, int, int) string
trim - .(string) string
format string_format .(string, list(dyn)) string
strings.quote strings_quote (string) string
join - .(list(string)) string
join - .(list(string), string) string
find - .(string, string) string
findAll - .(string, string) list(string)
findAll - .(string, string, int) list(string)
isSorted - .(list(C)) bool
sum - .(list(S)) S
min - .(list(C)) C
max - .(list(C)) C
slice list_slice .(list(A), int, int) list(A)
flatten list_flatten .(list(list(A))) list(A)
flatten list_flatten_int .(list(dyn), int) list(dyn)
sort list_C_sort .(list(C)) list(C)
@sortByAssociatedKeys list_C_sort_by .(list(A), list(C)) list(A)
lists.range lists_range (int) list(int)
reverse list_reverse .(list(A)) list(A)
distinct list_distinct .(list(A)) list(A)
first - .(list(A)) optional(A)
last - .(list(A)) optional(A)
sets.contains sets (list(A), list(A)) bool
sets.equivalent sets_twice (list(A), list(A)) bool
sets.intersects sets (list(A), list(A)) bool
cel.@mapInsert - (map(A, B), A, B) map(A, B)
cel.@mapInsert - (map(A, B), map(A, B)) map(A, B)
optional.of - (A) optional(A)
optional.ofNonZeroValue - (A) optional(A)
optional.none - () optional(A)
optional.unwrap - (list(optional(A))) list(A)
unwrapOpt - .(list(optional(A))) list(A)
value - .(optional(A)) A
hasValue - .(optional(A)) bool
or - .(optional(A), optional(A)) optional(A)
orValue - .(optional(A), A) A
url - (string) kubernetes.URL
isURL - (string) bool
getScheme - .(kubernetes.URL) string
getHost - .(kubernetes.URL) string
getHostname - .(kubernetes.URL) string
getPort - .(kubernetes.URL) string
getEscapedPath - .(kubernetes.URL) string
getQuery - .(kubernetes.URL) map(string, list(string))
quantity - (string) kubernetes.Quantity
isQuantity - (string) bool
sign - (kubernetes.Quantity) int
isGreaterThan - .(kubernetes.Quantity, kubernetes.Quantity) bool
isGreaterThan - .(kubernetes.Semver, kubernetes.Semver) bool
isLessThan - .(kubernetes.Quantity, kubernetes.Quantity) bool
isLessThan - .(kubernetes.Semver, kubernetes.Semver) bool
compareTo - .(kubernetes.Quantity, kubernetes.Quantity) int
compareTo - .(kubernetes.Semver, kubernetes.Semver) int
asApproximateFloat - .(kubernetes.Quantity) double
asInteger - .(kubernetes.Quantity) int
isInteger - .(kubernetes.Quantity) bool
add - .(kubernetes.Quantity, kubernetes.Quantity) kubernetes.Quantity
add - .(kubernetes.Quantity, int) kubernetes.Quantity
sub - .(kubernetes.Quantity, kubernetes.Quantity) kubernetes.Quantity
sub - .(kubernetes.Quantity, int) kubernetes.Quantity
ip - (string) IP
ip cidr_ip .(CIDR) IP
ip.isCanonical - (string) bool
family - .(IP) int
isUnspecified - .(IP) bool
isLoopback - .(IP) bool
isLinkLocalMulticast - .(IP) bool
isLinkLocalUnicast - .(IP) bool
isGlobalUnicast - .(IP) bool
isIP - (string) bool
cidr - (string) CIDR
isCIDR - (string) bool
containsIP of_text .(CIDR, string) bool
containsIP - .(CIDR, IP) bool
containsCIDR of_text .(CIDR, string) bool
containsCIDR - .(CIDR, CIDR) bool
prefixLength - .(CIDR) int
masked - .(CIDR) CIDR
format.named - (string) optional(kubernetes.NamedFormat)
format.byte - () kubernetes.NamedFormat
format.date - () kubernetes.NamedFormat
format.datetime - () kubernetes.NamedFormat
format.dns1035Label - () kubernetes.NamedFormat
format.dns1035LabelPrefix - () kubernetes.NamedFormat
format.dns1123Label - () kubernetes.NamedFormat
format.dns1123LabelPrefix - () kubernetes.NamedFormat
format.dns1123Subdomain - () kubernetes.NamedFormat
format.dns1123SubdomainPrefix - () kubernetes.NamedFormat
format.labelValue - () kubernetes.NamedFormat
format.qualifiedName - () kubernetes.NamedFormat
format.uri - () kubernetes.NamedFormat
format.uuid - () kubernetes.NamedFormat
validate - .(kubernetes.NamedFormat, string) optional(list(string))
semver - (string) kubernetes.Semver
semver - (string, bool) kubernetes.Semver
isSemver - (string) bool
isSemver - (string, bool) bool
major - .(kubernetes.Semver) int
minor - .(kubernetes.Semver) int
patch - .(kubernetes.Semver) int
path - .(kubernetes.authorization.Authorizer, string) kubernetes.authorization.PathCheck
group - .(kubernetes.authorization.Authorizer, string) kubernetes.authorization.GroupCheck
serviceAccount - .(kubernetes.authorization.Authorizer, string, string) kubernetes.authorization.Authorizer
resource - .(kubernetes.authorization.GroupCheck, string) kubernetes.authorization.ResourceCheck
subresource - .(kubernetes.authorization.ResourceCheck, string) kubernetes.authorization.ResourceCheck
namespace - .(kubernetes.authorization.ResourceCheck, string) kubernetes.authorization.ResourceCheck
name - .(kubernetes.authorization.ResourceCheck, string) kubernetes.authorization.ResourceCheck
fieldSelector - .(kubernetes.authorization.ResourceCheck, string) kubernetes.authorization.ResourceCheck
labelSelector - .(kubernetes.authorization.ResourceCheck, string) kubernetes.authorization.ResourceCheck
check - .(kubernetes.authorization.PathCheck, string) kubernetes.authorization.Decision
check - .(kubernetes.authorization.ResourceCheck, string) kubernetes.authorization.Decision
errored - .(kubernetes.authorization.Decision) bool
error - .(kubernetes.authorization.Decision) string
allowed - .(kubernetes.authorization.Decision) bool
reason - .(kubernetes.authorization.Decision) string
jsonpatch.escapeKey - (string) string
";

const ORDERED: [&str; 8] = ["int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"];
const SUMMABLE: [&str; 4] = ["int", "uint", "double", "duration"];
const UNLIKE: [(&str, &str); 6] = [
    ("int", "double"),
    ("int", "uint"),
    ("uint", "double"),
    ("uint", "int"),
    ("double", "int"),
    ("double", "uint"),
];

/// All functions, by name.
pub(super) static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
    let mut out = Functions::new();
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        let mut words = line.splitn(3, ' ');
        let (Some(name), Some(id), Some(signature)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let overloads = out.entry(name).or_default();
        let mut add = |replaced: &[(&str, &str)]| overloads.push(overload(id, signature, replaced));
        if signature.contains("(C") {
            ORDERED.iter().for_each(|of| add(&[("C", of)]));
        } else if signature.contains("(S)") {
            SUMMABLE.iter().for_each(|of| add(&[("S", of)]));
        } else if signature.contains("(X") {
            UNLIKE.iter().for_each(|(x, y)| add(&[("X", x), ("Y", y)]));
        } else {
            add(&[]);
        }
    }
    out
});

/// `.(list(A), int) A`.
fn overload(id: &str, signature: &str, replaced: &[(&str, &str)]) -> Overload {
    let member = signature.starts_with('.');
    let mut rest = signature.trim_start_matches('.');
    let mut params = 0;
    let args = arguments(&mut rest, replaced, &mut params);
    let result = read(&mut rest, replaced, &mut params);
    let of = replaced.first().map_or("", |(_, of)| of);
    Overload { id: id.replace('C', of), member, args, result, params }
}

/// Types in parentheses.
fn arguments(rest: &mut &str, replaced: &[(&str, &str)], params: &mut usize) -> Vec<Type> {
    *rest = rest.trim_start_matches('(');
    let mut args = Vec::new();
    while !rest.starts_with(')') && !rest.is_empty() {
        args.push(read(rest, replaced, params));
        *rest = rest.trim_start_matches(", ");
    }
    *rest = rest.get(1..).unwrap_or_default();
    args
}

fn read(rest: &mut &str, replaced: &[(&str, &str)], params: &mut usize) -> Type {
    let text = rest.trim_start();
    let end = text.find([',', '(', ')', ' ']).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    *rest = after;
    let name = replaced.iter().find(|(letter, _)| *letter == name).map_or(name, |(_, of)| of);
    let of = if rest.starts_with('(') { arguments(rest, replaced, params) } else { Vec::new() };
    match name {
        "A" | "B" => {
            let n = usize::from(name == "B");
            *params = (*params).max(n + 1);
            Type::Param(n)
        }
        "list" => Type::parts(Head::List, of),
        "map" => Type::parts(Head::Map, of),
        "type" => Type::parts(Head::Type, of),
        "optional" => Type::parts(Head::Opaque(OPTIONAL), of),
        "IP" => Type::parts(Head::Opaque("net.IP"), of),
        "CIDR" => Type::parts(Head::Opaque("net.CIDR"), of),
        name => NAMED.iter().find(|(known, _)| *known == name).map_or(Type::Error, |(_, of)| of.clone()),
    }
}

/// Types without parts.
pub(super) const NAMED: [(&str, Type); 18] = [
    ("bool", Type::Bool),
    ("bytes", Type::Bytes),
    ("double", Type::Double),
    ("duration", Type::Duration),
    ("dyn", Type::Dyn),
    ("int", Type::Int),
    ("string", Type::Text),
    ("timestamp", Type::Time),
    ("uint", Type::Uint),
    ("kubernetes.NamedFormat", Type::Named("kubernetes.NamedFormat")),
    ("kubernetes.Quantity", Type::Named("kubernetes.Quantity")),
    ("kubernetes.Semver", Type::Named("kubernetes.Semver")),
    ("kubernetes.URL", Type::Named("kubernetes.URL")),
    ("kubernetes.authorization.Authorizer", Type::Named("kubernetes.authorization.Authorizer")),
    ("kubernetes.authorization.Decision", Type::Named("kubernetes.authorization.Decision")),
    ("kubernetes.authorization.GroupCheck", Type::Named("kubernetes.authorization.GroupCheck")),
    ("kubernetes.authorization.PathCheck", Type::Named("kubernetes.authorization.PathCheck")),
    ("kubernetes.authorization.ResourceCheck", Type::Named("kubernetes.authorization.ResourceCheck")),
];

/// What a name that is no variable is the name of: a type.
pub(super) fn named_type(name: &str) -> Option<Type> {
    let any = || vec![Type::Dyn, Type::Dyn];
    Some(match name {
        "bool" | "bytes" | "double" | "dyn" | "int" | "string" | "uint" => {
            NAMED.iter().find(|(known, _)| *known == name)?.1.clone()
        }
        "google.protobuf.Timestamp" => Type::Time,
        "google.protobuf.Duration" => Type::Duration,
        "list" => Type::list(Type::Dyn),
        "map" => Type::parts(Head::Map, any()),
        "null_type" => Type::Null,
        "type" => Type::parts(Head::Type, Vec::new()),
        "optional_type" => Type::optional(Type::Dyn),
        "net.IP" => Type::parts(Head::Opaque("net.IP"), Vec::new()),
        "net.CIDR" => Type::parts(Head::Opaque("net.CIDR"), Vec::new()),
        name if name.starts_with("kubernetes.") => NAMED.iter().find(|(known, _)| *known == name)?.1.clone(),
        _ => return None,
    })
}
