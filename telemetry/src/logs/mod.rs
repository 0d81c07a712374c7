//! Log lines: one format, on standard error, for every command.
//!
//! Owns: where the level comes from, what a line looks like, and what becomes of one that cannot be written
//! ([`writer`]). Never: decides what is worth a line.

mod writer;

use std::error::Error;
use std::io::{IsTerminal, Write};

use tracing::Level;
use tracing_subscriber::EnvFilter;

use writer::Lines;

/// Where the filter may come from besides the command line, the first one that is set wins.
/// The value is a level (`debug`) or directives (`info,flanneld=debug`).
pub const VARIABLES: [&str; 2] = ["WEFT_LOG", "RUST_LOG"];

/// Libraries that say too much at `debug` and `trace` to be of use to anybody who did not ask for them by name.
const CHATTY: [&str; 6] = ["h2", "hyper", "hyper_util", "tower", "rustls", "netlink_proto"];

/// Starts logging to standard error at `default_level`, unless one of [`VARIABLES`] says otherwise.
///
/// Colours are used only where standard error is a terminal. A second call changes nothing.
pub fn init(default_level: Level) {
    let (filter, complaint) = filter(|name| std::env::var(name).ok(), default_level);
    let subscriber = subscriber(filter, Lines::new(std::io::stderr()), std::io::stderr().is_terminal());
    let started = tracing::subscriber::set_global_default(subscriber);
    if let (Ok(()), Some(complaint)) = (started, complaint) {
        tracing::warn!("{complaint}");
    }
}

fn subscriber<W: Write + Send + 'static>(
    filter: EnvFilter,
    lines: Lines<W>,
    ansi: bool,
) -> impl tracing::Subscriber + Send + Sync {
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines)
        .with_ansi(ansi)
        // Its own words about a line that it could not write would go to standard error, and panic if that is full.
        .log_internal_errors(false)
        .finish()
}

/// The level that `-v N` of the originals asks for.
///
/// klog counts from 0; by the convention of Kubernetes 2 is the usual value, 4 is for debugging and 6 and more shows
/// requests (<https://github.com/kubernetes/community/blob/master/contributors/devel/sig-instrumentation/logging.md>).
pub fn level_of_verbosity(v: u32) -> Level {
    match v {
        0..=3 => Level::INFO,
        4..=5 => Level::DEBUG,
        _ => Level::TRACE,
    }
}

/// An error with its causes in one line, each after a colon, leaving out those that say nothing new.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// The filter, and what to say about a variable whose value cannot be read.
fn filter(variable: impl Fn(&str) -> Option<String>, default_level: Level) -> (EnvFilter, Option<String>) {
    let set = VARIABLES
        .iter()
        .find_map(|name| variable(name).filter(|value| !value.trim().is_empty()).map(|value| (*name, value)));
    let Some((name, value)) = set else { return (default_filter(default_level), None) };
    match EnvFilter::try_new(&value) {
        Ok(filter) => (filter, None),
        Err(error) => (
            default_filter(default_level),
            Some(format!(
                "{name}={value:?} is not a log filter ({error}); using {default_level}. \
                 Set it to a level such as debug, or to directives such as info,flanneld=debug"
            )),
        ),
    }
}

fn default_filter(level: Level) -> EnvFilter {
    let own = EnvFilter::new(level.to_string());
    if level <= Level::INFO {
        return own;
    }
    CHATTY.iter().fold(own, |filter, name| {
        filter
            .add_directive(format!("{name}=info").parse().expect("a crate name and a level make a directive"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(set: &[(&str, &str)], level: Level) -> (String, Option<String>) {
        let (filter, complaint) = filter(
            |name| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned()),
            level,
        );
        (filter.to_string(), complaint)
    }

    #[test]
    fn default_level_holds_where_nothing_is_set() {
        assert_eq!(rendered(&[], Level::INFO), ("info".to_owned(), None));
        assert_eq!(rendered(&[("WEFT_LOG", " ")], Level::WARN).0, "warn");
    }

    #[test]
    fn debugging_leaves_chatty_libraries_at_info() {
        let (filter, _) = rendered(&[], Level::DEBUG);
        assert!(filter.contains("h2=info") && filter.contains("debug"), "{filter}");
    }

    #[test]
    fn our_variable_wins_over_the_common_one() {
        assert_eq!(rendered(&[("RUST_LOG", "trace")], Level::INFO).0, "trace");
        assert_eq!(rendered(&[("RUST_LOG", "trace"), ("WEFT_LOG", "error")], Level::INFO).0, "error");
    }

    #[test]
    fn unreadable_filter_is_named_with_what_to_write_instead() {
        let (filter, complaint) = rendered(&[("WEFT_LOG", "flanneld=loud")], Level::INFO);
        assert_eq!(filter, "info");
        let complaint = complaint.expect("a complaint");
        assert!(
            complaint.contains("WEFT_LOG=\"flanneld=loud\"") && complaint.contains("debug"),
            "{complaint}"
        );
    }

    #[test]
    fn verbosity_of_the_originals() {
        assert_eq!(
            [0, 2, 4, 6, 10].map(level_of_verbosity),
            [Level::INFO, Level::INFO, Level::DEBUG, Level::TRACE, Level::TRACE]
        );
    }
}
