//! Numbers: the range of their type, and the bounds of their schema.
//!
//! Whole numbers and others are told apart as the original's decoder tells them apart: `2` is whole, `2.0` is not.

use apiclient_core::wire::Cause;
use serde_json::Number;

use super::invalid;
use super::node::Node;

impl Node {
    pub(super) fn check_number(&self, number: &Number, path: &str, causes: &mut Vec<Cause>) {
        let Some(have) = number.as_f64() else { return };
        let shown = if number.is_f64() { have.to_string() } else { number.to_string() };
        causes.extend(self.out_of_range("Checked", have, path));
        // A bound must be of the type too. Whole numbers are compared with its whole part, unless it is none.
        let bound = |what: &str, bound: f64, causes: &mut Vec<Cause>| {
            let wrong = self.out_of_range(what, bound, path);
            let whole = wrong.is_none() && number.is_i64();
            causes.extend(wrong);
            if whole { bound.trunc() } else { bound }
        };
        let refused = |what: &str| invalid(path, &shown, &format!("{path} in body should be {what}"));
        if let Some(factor) = self.multiple_of {
            let factor = bound("MultipleOf", factor, causes);
            if factor <= 0.0 {
                let what = format!("factor MultipleOf declared for {path} must be positive: {factor}");
                causes.push(invalid(path, &factor.to_string(), &what));
            } else if ((have / factor) - (have / factor).round()).abs() > f64::EPSILON {
                causes.push(refused(&format!("a multiple of {factor}")));
            }
        }
        if let Some(least) = self.minimum {
            let least = bound("Minimum boundary", least, causes);
            match self.exclusive.0 {
                true if have <= least => causes.push(refused(&format!("greater than {least}"))),
                false if have < least => causes.push(refused(&format!("greater than or equal to {least}"))),
                _ => {}
            }
        }
        if let Some(most) = self.maximum {
            let most = bound("Maximum boundary", most, causes);
            match self.exclusive.1 {
                true if have >= most => causes.push(refused(&format!("less than {most}"))),
                false if have > most => causes.push(refused(&format!("less than or equal to {most}"))),
                _ => {}
            }
        }
    }

    /// Whether the type of this node has such a number: neither the value nor a bound may be another one.
    fn out_of_range(&self, what: &str, number: f64, path: &str) -> Option<Cause> {
        // 2^63, which is beyond what 64 bits hold.
        const BEYOND: f64 = 9_223_372_036_854_775_808.0;
        let [of] = self.types.as_slice() else { return None };
        let format = Some(self.format.as_str());
        let (format, fits) = match of.as_str() {
            "integer" => {
                let format = format.filter(|format| matches!(*format, "int32" | "int64"));
                let fits = match format {
                    Some("int32") => (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number),
                    _ => (-BEYOND..BEYOND).contains(&number),
                };
                (format, fits && number.fract() == 0.0)
            }
            "number" => {
                let format = format.filter(|format| matches!(*format, "float" | "double"));
                (format, format != Some("float") || number.abs() <= f64::from(f32::MAX))
            }
            _ => return None,
        };
        let format = format.map_or("(default format)".to_owned(), |format| format!("with format {format}"));
        let message = format!("{what} value must be of type {of} {format} in {path}");
        (!fits).then(|| invalid("<nil>", "\"\"", &message))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn messages(schema: &Value, value: &Value) -> Vec<String> {
        let mut causes = Vec::new();
        let number = value.as_number().expect("a number");
        Node::new(schema, 0).check_number(number, "n", &mut causes);
        causes.into_iter().map(|cause| cause.message).collect()
    }

    #[test]
    fn a_bound_of_an_integer_that_is_none_is_refused_with_each_value() {
        let told =
            r#"Invalid value: "": Minimum boundary value must be of type integer (default format) in n"#;
        let schema = json!({"type": "integer", "minimum": 1.5});
        assert_eq!(messages(&schema, &json!(2)), [told]);
        let below = "Invalid value: 1: n in body should be greater than or equal to 1.5";
        assert_eq!(messages(&schema, &json!(1)), [told, below]);
    }

    #[test]
    fn a_whole_number_is_compared_with_the_whole_part_of_a_bound() {
        let schema = json!({"type": "number", "maximum": 1.5, "multipleOf": 1.5});
        assert_eq!(messages(&schema, &json!(1)), [""; 0]);
        let above = "Invalid value: 2: n in body should be less than or equal to 1";
        assert_eq!(messages(&schema, &json!(2)), [above]);
        assert_eq!(messages(&schema, &json!(1.5)), [""; 0]);
    }

    #[test]
    fn formats_count_for_their_type_alone() {
        let big = json!(3e9);
        let told = r#"Invalid value: "": Checked value must be of type integer with format int32 in n"#;
        assert_eq!(messages(&json!({"type": "integer", "format": "int32"}), &big), [told]);
        assert_eq!(messages(&json!({"type": "number", "format": "int32"}), &big), [""; 0]);
        let told = r#"Invalid value: "": Checked value must be of type number with format float in n"#;
        assert_eq!(messages(&json!({"type": "number", "format": "float"}), &json!(1e300)), [told]);
    }
}
