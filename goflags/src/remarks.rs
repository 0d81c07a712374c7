//! What an error adds to "unknown" and to "not a flag". `dashes` is how the program writes a flag: `-`, `--` or
//! nothing.

use crate::words;

/// `; did you mean --x?`, or nothing.
pub fn did_you_mean(dashes: &str, nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean {dashes}{name}?")).unwrap_or_default()
}

/// What is wrong with an argument behind a switch, which takes a value only by `=`.
pub fn after_switch(dashes: &str, switch: Option<&str>, argument: &str) -> String {
    match switch {
        Some(name) if words::boolean(argument).is_some() => {
            format!("; {dashes}{name} is a switch: write {dashes}{name}={argument}, without a space")
        }
        Some(name) => format!("; {dashes}{name} is a switch and takes no value"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_are_written_as_the_program_writes_flags() {
        assert_eq!(did_you_mean("--", Some("v")), "; did you mean --v?");
        assert_eq!(did_you_mean("-", None), "");
        assert_eq!(
            after_switch("-", Some("ip-masq"), "true"),
            "; -ip-masq is a switch: write -ip-masq=true, without a space"
        );
        assert_eq!(after_switch("--", Some("x"), "y"), "; --x is a switch and takes no value");
        assert_eq!(after_switch("--", None, "y"), "");
    }
}
