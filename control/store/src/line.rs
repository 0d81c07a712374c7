//! Readers who wait for a question that one of them asks for all.
//!
//! Owns: whose turn it is. Begin at [`Line::enter`].
//! Never: asks; a reader who has the turn does, and hands it on by dropping it, whether he got an answer or went away.
//!
//! A question that is under way is no use to who comes later: what was written meanwhile may be missing in its answer.
//! A task of its own that asks would be simpler, and is one more to be woken for every request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::ReadError;

/// What a reader who waits hears.
#[derive(Debug)]
pub(crate) enum Word {
    /// etcd's revision, by a question that was asked after he came.
    Answer(Result<i64, ReadError>),
    /// He is to ask.
    Turn(Turn),
}

/// All who wait. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Somebody has the turn.
    taken: bool,
    waiting: VecDeque<oneshot::Sender<Word>>,
}

/// The right to ask. There is one at most.
#[derive(Debug)]
pub(crate) struct Turn {
    line: Line,
    /// Who waits for this question's answer.
    others: VecDeque<oneshot::Sender<Word>>,
    /// It has been handed on.
    over: bool,
}

impl Line {
    /// The turn where nobody has it; otherwise what to wait for.
    pub(crate) fn enter(&self) -> Result<Turn, oneshot::Receiver<Word>> {
        let mut state = self.state();
        if !std::mem::replace(&mut state.taken, true) {
            return Ok(Turn { line: self.clone(), others: VecDeque::new(), over: false });
        }
        let (tell, told) = oneshot::channel();
        state.waiting.push_back(tell);
        Err(told)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The question is about to be asked: it is for all who are here.
    pub(crate) fn gather(&mut self) {
        self.others.append(&mut self.line.state().waiting);
    }

    /// The answer, for all it was asked for.
    pub(crate) fn tell(&mut self, answer: &Result<i64, ReadError>) {
        for other in self.others.drain(..) {
            let _ = other.send(Word::Answer(answer.clone()));
        }
    }
}

impl Drop for Turn {
    /// The next one asks: of those who got no answer, else of those who came since.
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut others = std::mem::take(&mut self.others);
        loop {
            let next = {
                let mut state = self.line.state();
                others.append(&mut state.waiting);
                let next = others.pop_front();
                state.taken = next.is_some();
                next
            };
            let Some(next) = next else { return };
            let turn = Self { line: self.line.clone(), others: std::mem::take(&mut others), over: false };
            match next.send(Word::Turn(turn)) {
                Ok(()) => return,
                // He has gone: his place is the next one's.
                Err(Word::Turn(mut turn)) => {
                    others = std::mem::take(&mut turn.others);
                    turn.over = true;
                }
                Err(Word::Answer(_)) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(line: &Line) -> oneshot::Receiver<Word> {
        line.enter().expect_err("somebody has the turn")
    }

    #[tokio::test]
    async fn a_question_is_for_those_who_came_before_it_was_asked() {
        let line = Line::default();
        let mut first = line.enter().expect("nobody was here");
        let second = waits(&line);
        first.gather();
        let third = waits(&line);
        first.tell(&Ok(7));
        drop(first);
        assert!(matches!(second.await, Ok(Word::Answer(Ok(7)))));
        let Ok(Word::Turn(mut turn)) = third.await else { panic!("no turn") };
        let fourth = waits(&line);
        turn.gather();
        turn.tell(&Ok(8));
        drop(turn);
        assert!(matches!(fourth.await, Ok(Word::Answer(Ok(8)))));
        assert!(line.enter().is_ok(), "nobody is left");
    }

    #[tokio::test]
    async fn who_goes_away_with_the_turn_leaves_it_to_the_next() {
        let line = Line::default();
        let mut first = line.enter().expect("nobody was here");
        let (second, third, fourth) = (waits(&line), waits(&line), waits(&line));
        first.gather();
        // One goes without having heard, one without having an answer, one before he has looked.
        drop(second);
        drop(first);
        drop(third);
        let Ok(Word::Turn(turn)) = fourth.await else { panic!("no turn") };
        drop(turn);
        assert!(line.enter().is_ok(), "nobody is left");
    }
}
