//! OpenMetrics as Prometheus' text format 0.0.4.
//!
//! What differs: a counter's family is named as its samples are, with `_total`; there are no `# UNIT` and `# EOF` lines,
//! no `_created` samples and no exemplars; an info is a gauge, an unknown is untyped; and bounds of buckets are
//! written as Go writes numbers, since dashboards compare them as text (`le="1"`, not `le="1.0"`).
//! Source: <https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md>.

use std::fmt::Write;

/// Converts what the registry writes. Lines that are of no known shape stay as they are.
pub(super) fn from_openmetrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut family = Family::default();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            // The registry writes the type on the next line, and a counter's name depends on it.
            family = Family::of(name, lines.peek().and_then(|next| type_of(next, name)));
            let _ = writeln!(out, "# HELP {} {help}", family.name());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
            family = Family::of(name, Some(kind));
            let _ = writeln!(out, "# TYPE {} {}", family.name(), family.kind());
        } else if line.starts_with('#') {
            // UNIT, EOF: the text format has neither.
        } else if !family.drops(line) {
            sample(&mut out, line, family.kind == "histogram");
        }
    }
    out
}

fn type_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix("# TYPE ")?.strip_prefix(name)?.strip_prefix(' ')
}

/// The family whose lines are being read.
#[derive(Default)]
struct Family<'a> {
    base: &'a str,
    kind: &'a str,
}

impl<'a> Family<'a> {
    fn of(base: &'a str, kind: Option<&'a str>) -> Self {
        Self { base, kind: kind.unwrap_or("unknown") }
    }

    fn name(&self) -> String {
        let suffix = match self.kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        format!("{}{suffix}", self.base)
    }

    fn kind(&self) -> &'a str {
        match self.kind {
            "info" | "stateset" => "gauge",
            "unknown" => "untyped",
            // A histogram whose values go down as well: its sum and count may, which the text format does not have.
            "gaugehistogram" => "histogram",
            kind => kind,
        }
    }

    /// The time at which a counter or histogram began, which is a sample in OpenMetrics only.
    fn drops(&self, line: &str) -> bool {
        matches!(self.kind, "counter" | "histogram" | "summary")
            && line
                .strip_prefix(self.base)
                .and_then(|rest| rest.strip_prefix("_created"))
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
    }
}

/// Name, labels, value and time of a sample; without its exemplar, which comes behind ` # `.
fn sample(out: &mut String, line: &str, bucket: bool) {
    let labels = line.find('{').map(|open| (open, end_of_labels(line, open)));
    let (head, rest) = match labels {
        Some((open, end)) if !line[..open].contains(' ') => line.split_at(end),
        _ => line.split_at(line.find(' ').unwrap_or(line.len())),
    };
    let rest = rest.split(" # ").next().unwrap_or(rest);
    match bucket.then(|| bound(head)).flatten() {
        Some((before, number, after)) => {
            let _ = writeln!(out, "{before}{}{after}{rest}", as_go_writes(number));
        }
        None => {
            let _ = writeln!(out, "{head}{rest}");
        }
    }
}

/// Where the labels that begin at `open` end: behind the first `}` that no quotes surround.
fn end_of_labels(line: &str, open: usize) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.bytes().enumerate().skip(open) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return at + 1,
            _ => {}
        }
    }
    line.len()
}

/// The value of the label `le`, and what stands before and behind it. A label's value cannot look like it: there the
/// quotes have a backslash before them.
fn bound(head: &str) -> Option<(&str, f64, &str)> {
    let key = head.rfind("le=\"").filter(|at| head[..*at].ends_with(['{', ',']))?;
    let (before, value) = head.split_at(key + "le=\"".len());
    let (number, after) = value.split_once('"')?;
    Some((
        before,
        number.parse().ok().filter(|number: &f64| number.is_finite())?,
        &head[head.len() - after.len() - 1..],
    ))
}

/// A number as Go's strconv writes it with format 'g' and the fewest digits: with an exponent below 0.0001 and from a
/// million on.
fn as_go_writes(number: f64) -> String {
    let exponent = format!("{number:e}");
    let Some((digits, power)) = exponent.split_once('e') else { return exponent };
    match power.parse::<i32>() {
        Ok(power) if !(-4..6).contains(&power) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", power.abs())
        }
        _ => format!("{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::metrics::counter::Counter;
    use crate::metrics::metrics::family::Family as Labelled;
    use crate::metrics::metrics::gauge::Gauge;
    use crate::metrics::metrics::histogram::Histogram;
    use crate::metrics::metrics::info::Info;
    use crate::metrics::registry::Unit;
    use crate::metrics::{Registry, encode};

    #[test]
    fn every_kind_of_metric_in_both_formats() {
        let mut registry = Registry::with_prefix("weft");
        let counts = Labelled::<Vec<(&str, &str)>, Counter>::default();
        registry.register("syncs", "Passes over \"tables\"", counts.clone());
        counts.get_or_create(&vec![("mode", "a } b # c"), ("path", "C:\\ \"x\"\n{")]).inc_by(7);
        let by_family =
            Labelled::<[(&str, &str); 1], Histogram>::new_with_constructor(|| Histogram::new([2.0]));
        registry.register("change", "Time of a change", by_family.clone());
        by_family.get_or_create(&[("a", ",le=\"3.0\"")]).observe(1.5);
        let gauge = Gauge::<i64>::default();
        registry.register("rules_total", "A gauge whose name ends like a counter's", gauge.clone());
        gauge.set(-3);
        let times = Histogram::new([0.000_05, 0.001, 0.25, 1.0, 10.0, 1_000_000.0]);
        registry.register_with_unit("pass", "Time of a pass", Unit::Seconds, times.clone());
        times.observe(0.2);
        times.observe(3.0);
        registry.register("build", "The build", Info::new(vec![("version", "1.0")]));
        let bytes = Counter::<u64>::default();
        registry.register_with_unit("sent", "Bytes sent", Unit::Bytes, bytes.clone());

        let openmetrics = encode(&registry).expect("text");
        assert_eq!(
            openmetrics,
            r##"# HELP weft_syncs Passes over "tables".
# TYPE weft_syncs counter
weft_syncs_total{mode="a } b # c",path="C:\\ \"x\"\n{"} 7
# HELP weft_change Time of a change.
# TYPE weft_change histogram
weft_change_sum{a=",le=\"3.0\""} 1.5
weft_change_count{a=",le=\"3.0\""} 1
weft_change_bucket{le="2.0",a=",le=\"3.0\""} 1
weft_change_bucket{le="+Inf",a=",le=\"3.0\""} 1
# HELP weft_rules_total A gauge whose name ends like a counter's.
# TYPE weft_rules_total gauge
weft_rules_total -3
# HELP weft_pass_seconds Time of a pass.
# TYPE weft_pass_seconds histogram
# UNIT weft_pass_seconds seconds
weft_pass_seconds_sum 3.2
weft_pass_seconds_count 2
weft_pass_seconds_bucket{le="0.00005"} 0
weft_pass_seconds_bucket{le="0.001"} 0
weft_pass_seconds_bucket{le="0.25"} 1
weft_pass_seconds_bucket{le="1.0"} 1
weft_pass_seconds_bucket{le="10.0"} 2
weft_pass_seconds_bucket{le="1000000.0"} 2
weft_pass_seconds_bucket{le="+Inf"} 2
# HELP weft_build The build.
# TYPE weft_build info
weft_build_info{version="1.0"} 1
# HELP weft_sent_bytes Bytes sent.
# TYPE weft_sent_bytes counter
# UNIT weft_sent_bytes bytes
weft_sent_bytes_total 0
# EOF
"##
        );
        assert_eq!(
            from_openmetrics(&openmetrics),
            r##"# HELP weft_syncs_total Passes over "tables".
# TYPE weft_syncs_total counter
weft_syncs_total{mode="a } b # c",path="C:\\ \"x\"\n{"} 7
# HELP weft_change Time of a change.
# TYPE weft_change histogram
weft_change_sum{a=",le=\"3.0\""} 1.5
weft_change_count{a=",le=\"3.0\""} 1
weft_change_bucket{le="2",a=",le=\"3.0\""} 1
weft_change_bucket{le="+Inf",a=",le=\"3.0\""} 1
# HELP weft_rules_total A gauge whose name ends like a counter's.
# TYPE weft_rules_total gauge
weft_rules_total -3
# HELP weft_pass_seconds Time of a pass.
# TYPE weft_pass_seconds histogram
weft_pass_seconds_sum 3.2
weft_pass_seconds_count 2
weft_pass_seconds_bucket{le="5e-05"} 0
weft_pass_seconds_bucket{le="0.001"} 0
weft_pass_seconds_bucket{le="0.25"} 1
weft_pass_seconds_bucket{le="1"} 1
weft_pass_seconds_bucket{le="10"} 2
weft_pass_seconds_bucket{le="1e+06"} 2
weft_pass_seconds_bucket{le="+Inf"} 2
# HELP weft_build_info The build.
# TYPE weft_build_info gauge
weft_build_info{version="1.0"} 1
# HELP weft_sent_bytes_total Bytes sent.
# TYPE weft_sent_bytes_total counter
weft_sent_bytes_total 0
"##
        );
    }

    #[test]
    fn what_only_openmetrics_has_is_left_out() {
        let text = "# TYPE a counter\na_total{x=\"1 # {2}\"} 3 # {trace=\"t\"} 1.0\na_created{x=\"1 # {2}\"} 1.5e9\n\
                    # TYPE b unknown\nb_created 5\n# TYPE c gauge\nc{x=\"}\"} 1 1700000000\n# EOF\n";
        assert_eq!(
            from_openmetrics(text),
            "# TYPE a_total counter\na_total{x=\"1 # {2}\"} 3\n\
             # TYPE b untyped\nb_created 5\n# TYPE c gauge\nc{x=\"}\"} 1 1700000000\n"
        );
        assert_eq!(from_openmetrics(""), "");
    }

    #[test]
    fn bounds_are_written_as_go_writes_them() {
        for (number, want) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (0.000_1, "0.0001"),
            (0.000_01, "1e-05"),
            (120.0, "120"),
            (100_000.0, "100000"),
            (1_234_567.0, "1.234567e+06"),
            (-2.5, "-2.5"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(as_go_writes(number), want);
        }
    }
}
