//! Values under small numbers that are given again.

use std::ops::{Index, IndexMut};

#[derive(Debug)]
pub struct Slots<T> {
    all: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { all: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// The number that the next one will have.
    pub fn vacant(&self) -> usize {
        self.free.last().copied().unwrap_or(self.all.len())
    }

    pub fn insert(&mut self, value: T) -> usize {
        let id = self.vacant();
        match self.free.pop() {
            Some(_) => self.all[id] = Some(value),
            None => self.all.push(Some(value)),
        }
        id
    }

    /// Numbers come from [`Slots::insert`]; one that is not in use is a defect of the caller.
    pub fn remove(&mut self, id: usize) -> T {
        self.free.push(id);
        self.all[id].take().expect("a number in use")
    }

    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.all.iter().enumerate().filter_map(|(id, value)| Some((id, value.as_ref()?)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        self.all.iter_mut().enumerate().filter_map(|(id, value)| Some((id, value.as_mut()?)))
    }
}

impl<T> Index<usize> for Slots<T> {
    type Output = T;

    fn index(&self, id: usize) -> &T {
        self.all[id].as_ref().expect("a number in use")
    }
}

impl<T> IndexMut<usize> for Slots<T> {
    fn index_mut(&mut self, id: usize) -> &mut T {
        self.all[id].as_mut().expect("a number in use")
    }
}
