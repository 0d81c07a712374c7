//! What controllers tell in Events.
//!
//! A controller that makes a thousand pods does not tell a thousand times: as the original's clients do, 25 Events about one
//! object are told at once, and one more every five minutes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use apiclient::{Event, EventRecorder, Reference};
use control_controllers_core::{Note, object};

/// Events about one object that are told at once; after how long there is room for one more.
const BURST: f64 = 25.0;
const REFILL: Duration = Duration::from_secs(300);

/// Objects that are remembered; the longest silent one is forgotten for another.
const REMEMBERED: usize = 4096;

/// Tells for one controller.
#[derive(Debug)]
pub struct Teller {
    recorder: EventRecorder,
    /// By uid: what is left of the burst, and when that was.
    left: HashMap<String, (f64, Instant)>,
}

impl Teller {
    pub fn new(recorder: EventRecorder) -> Self {
        Self { recorder, left: HashMap::new() }
    }

    /// `more` follows the note's own text.
    pub fn tell(&mut self, note: &Note, more: &str, now: Instant) {
        if !self.may(object::uid(&note.about), now) {
            return;
        }
        self.recorder.emit(Event {
            regarding: Reference {
                api_version: note.kind.api_version().into(),
                kind: note.kind.name.into(),
                namespace: object::namespace(&note.about).to_owned(),
                name: object::name(&note.about).to_owned(),
                uid: object::uid(&note.about).to_owned(),
            },
            reason: note.reason.into(),
            action: note.reason.into(),
            note: format!("{}{more}", note.text),
            warning: note.warning,
        });
    }

    fn may(&mut self, uid: &str, now: Instant) -> bool {
        if self.left.len() >= REMEMBERED && !self.left.contains_key(uid) {
            let silent = self.left.iter().min_by_key(|(_, (_, at))| *at).map(|(uid, _)| uid.clone());
            silent.and_then(|uid| self.left.remove(&uid));
        }
        let (left, at) = self.left.entry(uid.to_owned()).or_insert((BURST, now));
        *left = (*left + now.duration_since(*at).as_secs_f64() / REFILL.as_secs_f64()).min(BURST);
        *at = now;
        let may = *left >= 1.0;
        if may {
            *left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_told_of_25_times_at_once_and_then_seldom() {
        let mut teller = Teller::new(EventRecorder::default());
        let now = Instant::now();
        assert_eq!((0..100).filter(|_| teller.may("a", now)).count(), 25);
        assert!(teller.may("b", now));
        let later = now + REFILL + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| teller.may("a", later)).count(), 1);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut teller = Teller::new(EventRecorder::default());
        let now = Instant::now();
        for uid in 0..2 * REMEMBERED {
            teller.may(&uid.to_string(), now);
        }
        assert_eq!(teller.left.len(), REMEMBERED);
    }
}
