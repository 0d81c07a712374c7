//! When to try again without being called, and what to say of a trouble: once, also where it comes and goes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use telemetry::Backoff;

/// The waits before a pass that failed is tried again.
const WAITS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// A trouble that comes back within this time after it was told is not told again.
const QUIET: Duration = Duration::from_secs(60);

/// What is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something is wrong. It has come back so many times since it was told last.
    Trouble { text: String, returned: u32 },
    /// What was told is over.
    Over,
}

/// The state of the passes.
#[derive(Debug)]
pub struct Retry {
    at: Option<Instant>,
    backoff: Backoff,
    /// The trouble of the last pass.
    trouble: Option<String>,
    /// That trouble has been told.
    told: bool,
    /// When each trouble was told last, and how often it has come back since.
    history: BTreeMap<String, (Instant, u32)>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { at: None, backoff: WAITS, trouble: None, told: false, history: BTreeMap::new() }
    }
}

impl Retry {
    /// A pass is done, with or without a trouble. Says when the next one is due, and what is to be told.
    pub fn after(&mut self, trouble: Option<String>, now: Instant) -> Option<News> {
        self.history.retain(|text, (told, _)| {
            now.duration_since(*told) < QUIET || trouble.as_ref().is_some_and(|trouble| trouble == text)
        });
        let Some(text) = trouble else {
            (self.at, self.trouble) = (None, None);
            self.backoff.reset();
            return std::mem::take(&mut self.told).then_some(News::Over);
        };
        self.at = Some(now + self.backoff.step());
        let is_new = self.trouble.as_ref() != Some(&text);
        if is_new {
            self.told = false;
            self.trouble = Some(text.clone());
        }
        if self.told {
            return None;
        }
        let (told, returned) = self.history.get(&text).copied().unzip();
        let returned = returned.unwrap_or(0) + u32::from(is_new && told.is_some());
        if let Some(told) = told.filter(|told| now.duration_since(*told) < QUIET) {
            self.history.insert(text, (told, returned));
            return None;
        }
        self.history.insert(text.clone(), (now, 0));
        self.told = true;
        Some(News::Trouble { text, returned })
    }

    /// Waits until the next pass is due; for ever if none is.
    pub async fn due(&self) {
        match self.at {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn told(text: &str, returned: u32) -> Option<News> {
        Some(News::Trouble { text: text.to_owned(), returned })
    }

    #[test]
    fn a_trouble_that_stays_is_told_once_and_tried_again_ever_more_slowly() {
        let (mut retry, mut now) = (Retry::default(), Instant::now());
        assert_eq!(retry.after(trouble("eth0 is gone"), now), told("eth0 is gone", 0));
        let mut waits = Vec::new();
        for _ in 0..100 {
            let due = retry.at.unwrap();
            waits.push(due - now);
            now = due;
            assert_eq!(retry.after(trouble("eth0 is gone"), now), None);
        }
        let (first, last) = (Duration::from_millis(100), Duration::from_secs(5));
        assert!(waits.is_sorted() && waits[0] == first && waits[99] == last, "{waits:?}");
        assert_eq!(retry.after(None, now), Some(News::Over));
        assert_eq!((retry.at, retry.after(None, now)), (None, None));
    }

    #[test]
    fn a_trouble_that_comes_and_goes_is_told_once_a_minute_with_its_count() {
        let (mut retry, start) = (Retry::default(), Instant::now());
        let mut news = Vec::new();
        for second in 0..150 {
            let now = start + Duration::from_secs(second);
            news.extend(retry.after(trouble("eth0 is gone"), now));
            news.extend(retry.after(None, now + Duration::from_millis(500)));
        }
        let want = [told("eth0 is gone", 0), told("eth0 is gone", 60), told("eth0 is gone", 60)];
        let want: Vec<News> = want.into_iter().flatten().flat_map(|news| [news, News::Over]).collect();
        assert_eq!(news, want);
    }

    #[test]
    fn a_trouble_that_came_back_untold_and_stays_is_told_in_the_end() {
        let (mut retry, start) = (Retry::default(), Instant::now());
        retry.after(trouble("gone"), start);
        retry.after(None, start);
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(retry.after(trouble("gone"), later(1)), None);
        assert_eq!(retry.after(trouble("gone"), later(30)), None);
        assert_eq!(retry.after(trouble("gone"), later(61)), told("gone", 1));
        assert_eq!(retry.after(None, later(62)), Some(News::Over));
    }

    #[test]
    fn another_trouble_is_told_at_once() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        assert_eq!(retry.after(trouble("gone"), now), told("gone", 0));
        assert_eq!(retry.after(trouble("down"), now), told("down", 0));
        assert_eq!(retry.after(trouble("gone"), now), None);
    }
}
