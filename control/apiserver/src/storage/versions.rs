//! Which state of a kind a request wants, by `resourceVersion`, `resourceVersionMatch`, `limit` and `continue`.
//!
//! Facts: apiserver's `storage/interfaces.go` and `storage/cacher/delegator.go`. Pure. Begin at [`list`] and [`watch`].

use apiclient_core::wire::Status;
use control_core::refusal;
use control_store::Freshness;

use super::token::Token;
use crate::request::options::{EXACT, ListOptions, NOT_OLDER, version};

/// What a list is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPlan {
    pub freshness: Freshness,
    /// Begins here, without the list's prefix; `None`: at its start.
    pub start: Option<String>,
    /// At most so many objects; 0: all.
    pub limit: usize,
}

/// # Errors
/// 400 for versions and tokens that are none, or that do not go together.
pub fn list(options: &ListOptions) -> Result<ListPlan, Status> {
    let limit = usize::try_from(options.limit).unwrap_or(0);
    if !options.next.is_empty() {
        let invalid = |why| refusal::bad_request(format!("invalid continue token: {why}"));
        let token = Token::decode(&options.next).map_err(invalid)?;
        if !matches!(options.resource_version.as_str(), "" | "0") {
            return Err(refusal::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let freshness = if token.version > 0 { Freshness::Exactly(token.version) } else { Freshness::Latest };
        return Ok(ListPlan { freshness, start: Some(token.start), limit });
    }
    if options.resource_version.is_empty() {
        return Ok(ListPlan { freshness: Freshness::Latest, start: None, limit });
    }
    let wanted = parsed(&options.resource_version)
        .map_err(|why| refusal::bad_request(format!("invalid resource version: {why}")))?;
    let freshness = match options.version_match.as_str() {
        EXACT => Freshness::Exactly(wanted),
        "" if limit > 0 && wanted > 0 => Freshness::Exactly(wanted),
        "" | NOT_OLDER if wanted == 0 => Freshness::Any,
        _ => Freshness::NotOlderThan(wanted),
    };
    // What may be old comes from memory, and all of it at once.
    let limit = if freshness == Freshness::Any && options.version_match.is_empty() { 0 } else { limit };
    Ok(ListPlan { freshness, start: None, limit })
}

/// What a watch begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchPlan {
    /// All objects there are as events, then what happens. With `bookmark` a bookmark tells where the objects end.
    Initial { freshness: Freshness, bookmark: bool },
    /// What happens after this version.
    After(i64),
    /// What happens from now on.
    FromNow,
}

/// # Errors
/// 500, as the original, for what is no number.
pub fn watch(options: &ListOptions) -> Result<WatchPlan, Status> {
    let wanted = parsed(&options.resource_version).map_err(refusal::unknown)?;
    Ok(match options.initial_events {
        Some(true) => WatchPlan::Initial {
            freshness: match options.resource_version.as_str() {
                "" => Freshness::Latest,
                _ if wanted == 0 => Freshness::Any,
                _ => Freshness::NotOlderThan(wanted),
            },
            bookmark: options.bookmarks,
        },
        Some(false) if wanted == 0 => WatchPlan::FromNow,
        None if wanted == 0 => WatchPlan::Initial { freshness: Freshness::Any, bookmark: false },
        _ => WatchPlan::After(wanted),
    })
}

/// What a GET is of. A version is a lower bound, 0 is whatever is at hand.
///
/// # Errors
/// 500, as the original, for what is no number.
pub fn get(text: &str) -> Result<Freshness, Status> {
    if text.is_empty() {
        return Ok(Freshness::Latest);
    }
    let wanted = parsed(text).map_err(refusal::unknown)?;
    Ok(if wanted == 0 { Freshness::Any } else { Freshness::NotOlderThan(wanted) })
}

fn parsed(text: &str) -> Result<i64, String> {
    let wanted = version(text)?;
    Ok(i64::try_from(wanted).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::query::Query;

    fn planned(query: &str) -> Result<(Freshness, usize), String> {
        let options = ListOptions::decode(&Query::parse(query), false).map_err(|status| status.message)?;
        list(&options).map(|plan| (plan.freshness, plan.limit)).map_err(|status| status.message)
    }

    #[test]
    fn each_combination_of_parameters_names_one_state() {
        use Freshness::{Any, Exactly, Latest, NotOlderThan};
        for (query, want) in [
            ("", (Latest, 0)),
            ("limit=5", (Latest, 5)),
            ("resourceVersion=0", (Any, 0)),
            ("resourceVersion=0&limit=5", (Any, 0)),
            ("resourceVersion=7", (NotOlderThan(7), 0)),
            ("resourceVersion=7&limit=5", (Exactly(7), 5)),
            ("resourceVersion=7&limit=5&resourceVersionMatch=NotOlderThan", (NotOlderThan(7), 5)),
            ("resourceVersion=7&resourceVersionMatch=Exact", (Exactly(7), 0)),
            ("resourceVersion=0&limit=5&resourceVersionMatch=NotOlderThan", (Any, 5)),
        ] {
            assert_eq!(planned(query), Ok(want), "{query}");
        }
        let token = Token::behind(9, "a").encode();
        assert_eq!(planned(&format!("continue={token}&limit=2")), Ok((Exactly(9), 2)));
        let latest = Token::behind(-1, "a").encode();
        assert_eq!(planned(&format!("continue={latest}&limit=2")), Ok((Latest, 2)));
        let both = planned(&format!("continue={token}&resourceVersion=3")).expect_err("both");
        assert_eq!(both, "specifying resource version is not allowed when using continue");
        assert_eq!(
            planned("resourceVersion=x").expect_err("no number"),
            "invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax"
        );
    }

    #[test]
    fn a_watch_begins_with_what_there_is_or_after_a_version() {
        let of =
            |query: &str| watch(&ListOptions::decode(&Query::parse(query), true).expect(query)).expect(query);
        let initial = |freshness, bookmark| WatchPlan::Initial { freshness, bookmark };
        assert_eq!(of("watch=1"), initial(Freshness::Latest, false));
        assert_eq!(of("watch=1&resourceVersion=0"), initial(Freshness::Any, false));
        assert_eq!(of("watch=1&resourceVersion=7"), WatchPlan::After(7));
        let list =
            "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
        assert_eq!(of(list), initial(Freshness::Latest, true));
        assert_eq!(of(&format!("{list}&resourceVersion=7")), initial(Freshness::NotOlderThan(7), true));
        let none = "watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
        assert_eq!(of(none), WatchPlan::FromNow);
        assert_eq!(of(&format!("{none}&resourceVersion=7")), WatchPlan::After(7));
    }
}
