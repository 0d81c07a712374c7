//! Other encodings of objects, kept while they are in demand.
//!
//! Owns: how much memory they may take, and which go first. Begin at [`FormCache`].
//! Never: makes one.
//!
//! Time is counted in sweeps. A form that nobody asked for during two whole sweeps goes; and where all forms take more
//! than their budget, those that were made first go, however young.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use crate::stored::{Inner, Slot, Stored};

/// What the allocator and the bookkeeping take for one form, roughly.
const OVERHEAD: usize = 96;
/// Sweeps without a question after which a form goes.
const IDLE: u32 = 2;

/// When a form was used that goes in the next sweep.
pub(crate) fn long_ago(now: u32) -> u32 {
    now.saturating_sub(IDLE)
}

/// The forms of one object.
#[derive(Default)]
pub(crate) struct Forms(Vec<Form>);

struct Form {
    slot: Slot,
    used: u32,
    bytes: Bytes,
}

impl Forms {
    pub(crate) fn get(&mut self, slot: Slot, now: u32) -> Option<Bytes> {
        let form = self.0.iter_mut().find(|form| form.slot == slot)?;
        form.used = now;
        Some(form.bytes.clone())
    }

    /// Keeps a form unless there is one already; that which is kept, and by how many bytes this has grown.
    pub(crate) fn keep(&mut self, slot: Slot, made: Bytes, used: u32) -> (Bytes, usize) {
        if let Some(form) = self.0.iter_mut().find(|form| form.slot == slot) {
            form.used = form.used.max(used);
            return (form.bytes.clone(), 0);
        }
        self.0.reserve_exact(1);
        self.0.push(Form { slot, used, bytes: made.clone() });
        let grown = made.len() + OVERHEAD;
        (made, grown)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|form| form.bytes.len() + OVERHEAD).sum()
    }
}

/// Watches over the forms of all objects of one store.
#[derive(Debug)]
pub(crate) struct FormCache {
    budget: usize,
    now: AtomicU32,
    bytes: AtomicUsize,
    /// Objects that have forms, the first to get one first.
    holders: Mutex<VecDeque<Weak<Inner>>>,
}

impl FormCache {
    /// `budget`: bytes that all forms together may take.
    pub(crate) fn new(budget: usize) -> Arc<Self> {
        Arc::new(Self {
            budget,
            now: AtomicU32::new(0),
            bytes: AtomicUsize::new(0),
            holders: Mutex::new(VecDeque::new()),
        })
    }

    pub(crate) fn now(&self) -> u32 {
        self.now.load(Relaxed)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    pub(crate) fn shrank(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// An object's forms have grown; `first`: it had none.
    pub(crate) fn grew(&self, object: &Stored, bytes: usize, first: bool) {
        let all = self.bytes.fetch_add(bytes, Relaxed) + bytes;
        if first {
            self.holders().push_back(object.downgrade());
        }
        if all > self.budget {
            self.make_room(object);
        }
    }

    /// Gives up forms, the oldest first, until nine tenths of the budget are left. `spare` keeps its own: they are in
    /// use at this moment.
    fn make_room(&self, spare: &Stored) {
        let enough = self.budget - self.budget / 10;
        while self.bytes() > enough {
            let Some(weak) = self.holders().pop_front() else { return };
            let Some(object) = Stored::upgrade(&weak) else { continue };
            if object.same(spare) {
                self.holders().push_back(weak);
                if self.holders().len() == 1 {
                    return;
                }
                continue;
            }
            if let Some(forms) = object.forms().take() {
                self.shrank(forms.bytes());
            }
        }
    }

    /// One tick of the clock: gives up what was not asked for.
    pub(crate) fn sweep(&self) {
        let now = self.now.fetch_add(1, Relaxed) + 1;
        let mut holders = std::mem::take(&mut *self.holders());
        holders.retain(|weak| Stored::upgrade(weak).is_some_and(|object| self.sweep_one(&object, now)));
        holders.shrink_to_fit();
        let mut list = self.holders();
        holders.append(&mut list);
        *list = holders;
    }

    /// Whether the object has forms still.
    fn sweep_one(&self, object: &Stored, now: u32) -> bool {
        let mut place = object.forms();
        let Some(forms) = place.as_mut() else { return false };
        let before = forms.bytes();
        forms.0.retain(|form| now.saturating_sub(form.used) <= IDLE);
        self.shrank(before - forms.bytes());
        let any = !forms.is_empty();
        if !any {
            *place = None;
        }
        any
    }

    fn holders(&self) -> std::sync::MutexGuard<'_, VecDeque<Weak<Inner>>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::Keep;

    fn object(cache: &Arc<FormCache>, number: usize) -> Stored {
        Stored::new(&format!("pods/a/{number}"), 1, Bytes::from_static(b"x"), cache)
    }

    fn big() -> Bytes {
        Bytes::from(vec![0; 1000])
    }

    #[test]
    fn a_form_is_made_once_and_shared() {
        let cache = FormCache::new(1 << 20);
        let object = object(&cache, 1);
        let first = object.form(Slot(1), big);
        let second = object.clone().form(Slot(1), || unreachable!("it is kept"));
        assert_eq!(first.as_ptr(), second.as_ptr());
        assert_eq!(object.form(Slot(2), || Bytes::from_static(b"y")), "y");
        let keep = Keep::WhileWanted;
        assert_eq!(object.try_form(Slot(3), keep, || Err(7)), Err(7));
        assert_eq!(object.try_form(Slot(3), keep, || Ok::<_, ()>(Bytes::new())), Ok(Bytes::new()));
    }

    #[test]
    fn what_is_kept_briefly_goes_first_and_stays_where_somebody_asks() {
        let cache = FormCache::new(1 << 20);
        (0..IDLE).for_each(|_| cache.sweep());
        let (asked, idle) = (object(&cache, 1), object(&cache, 2));
        let made = |object: &Stored, keep| object.try_form(Slot(1), keep, || Ok::<_, ()>(big())).unwrap();
        made(&idle, Keep::Not);
        assert_eq!(cache.bytes(), 0);
        made(&idle, Keep::Briefly);
        made(&asked, Keep::Briefly);
        asked.form(Slot(1), || unreachable!("it is kept"));
        cache.sweep();
        assert_eq!(cache.bytes(), 1000 + OVERHEAD);
        asked.form(Slot(1), || unreachable!("it is wanted"));
    }

    #[test]
    fn forms_that_nobody_asks_for_are_given_up() {
        let cache = FormCache::new(1 << 20);
        let (used, idle) = (object(&cache, 1), object(&cache, 2));
        idle.form(Slot(1), big);
        used.form(Slot(1), big);
        used.form(Slot(2), big);
        for _ in 0..4 {
            cache.sweep();
            used.form(Slot(1), || unreachable!("it is in use"));
        }
        assert_eq!(cache.bytes(), 1000 + OVERHEAD);
        let mut again = false;
        idle.form(Slot(1), || {
            again = true;
            big()
        });
        assert!(again);
        drop((used, idle));
        assert_eq!(cache.bytes(), 0);
        cache.sweep();
        assert!(cache.holders().is_empty());
    }

    #[test]
    fn all_forms_together_stay_within_their_budget() {
        let cache = FormCache::new(10_000);
        let objects: Vec<_> = (0..100).map(|number| object(&cache, number)).collect();
        for object in &objects {
            object.form(Slot(1), big);
            assert!(cache.bytes() <= 10_000);
        }
        objects[99].form(Slot(1), || unreachable!("the youngest stays"));
        let huge = objects[0].form(Slot(2), || Bytes::from(vec![0; 20_000]));
        assert_eq!(huge.len(), 20_000, "what is too large is served all the same");
        assert_eq!(cache.bytes(), objects[0].forms().as_ref().map_or(0, |forms| forms.bytes()));
    }

    #[test]
    fn one_value_of_each_type_is_derived() {
        let cache = FormCache::new(0);
        let object = object(&cache, 1);
        assert_eq!(*object.derived(|| 7_u32), 7);
        assert_eq!(*object.derived(|| "seven"), "seven");
        assert_eq!(*object.derived(|| 8_u32), 7);
        assert_eq!(*object.derived(|| "eight"), "seven");
    }
}
