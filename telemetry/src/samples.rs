//! Reads the text that Prometheus reads, as far as a status needs it.

use std::collections::BTreeMap;

/// One line of a metrics page.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Sample {
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }
}

/// Every sample of a page in the Prometheus text format (or OpenMetrics), in its order. Lines that are none are
/// left out.
pub fn parse(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

/// The sum of all samples of a name.
pub fn sum(samples: &[Sample], name: &str) -> f64 {
    samples.iter().filter(|sample| sample.name == name).map(|sample| sample.value).sum()
}

/// `name{key="value",...} 1.5 [timestamp]`
fn sample(line: &str) -> Option<Sample> {
    let line = line.trim();
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// What stands between the braces, and what follows them.
fn labels(mut text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (key, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(key.to_owned(), value);
        text = &rest[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_with_and_without_labels() {
        let text = "# HELP x y\n# TYPE x counter\nx_total 3\n\
                    p_total{peer=\"172.30.0.12\",reason=\"a \\\"b\\\",c\"} 1.5 1700000000\nup{} +Inf\n# EOF\n";
        let samples = parse(text);
        assert_eq!(samples.len(), 3);
        assert_eq!(sum(&samples, "x_total"), 3.0);
        assert_eq!(samples[1].label("peer"), Some("172.30.0.12"));
        assert_eq!(samples[1].label("reason"), Some("a \"b\",c"));
        assert_eq!(samples[1].value, 1.5);
        assert_eq!(samples[2].value, f64::INFINITY);
    }

    #[test]
    fn what_is_no_sample_is_left_out() {
        assert_eq!(parse("nonsense\nx{a=\"b\nx{a=\"b\"}\nx one\n\n"), []);
    }
}
