//! Objects in the order of their keys, in a tree whose copies cost nothing.
//!
//! Owns: the order. Begin at [`Tree::insert`] and [`Tree::iter_from`].
//! Never: changes what a copy shows.
//!
//! Two levels: leaves of up to [`LEAF`] objects, and one list of the leaves. A copy shares both. The first change after a copy
//! was made copies the list (a pointer for some fifty objects) and the leaf that changes; further changes of the same
//! leaf, as long as there is no new copy, copy nothing.

use std::sync::Arc;

use crate::stored::Stored;

/// Most objects of a leaf; one with fewer than a quarter of this is joined with a neighbour.
const LEAF: usize = 64;

type Leaf = Arc<Vec<Stored>>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    /// None of them is empty.
    leaves: Arc<Vec<Leaf>>,
    len: usize,
}

impl Tree {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Stored> {
        let leaf = self.leaves.get(self.leaf_of(key))?;
        leaf.get(find(leaf, key).ok()?)
    }

    /// Puts an object at its key's place; the one that was there.
    pub(crate) fn insert(&mut self, object: Stored) -> Option<Stored> {
        let at = self.leaf_of(object.key());
        let leaves = Arc::make_mut(&mut self.leaves);
        let last = at + 1 == leaves.len();
        let Some(shared) = leaves.get_mut(at) else {
            leaves.push(Arc::new(vec![object]));
            self.len += 1;
            return None;
        };
        let place = match find(shared, object.key()) {
            Ok(place) => {
                let there = Arc::make_mut(shared).get_mut(place)?;
                return Some(std::mem::replace(there, object));
            }
            Err(place) => place,
        };
        self.len += 1;
        if shared.len() < LEAF {
            Arc::make_mut(shared).insert(place, object);
        } else if last && place == LEAF {
            // Keys that only grow leave full leaves behind.
            leaves.push(Arc::new(vec![object]));
        } else {
            let leaf = Arc::make_mut(shared);
            let mut behind = leaf.split_off(LEAF / 2);
            match place.checked_sub(LEAF / 2) {
                Some(place) => behind.insert(place, object),
                None => leaf.insert(place, object),
            }
            leaves.insert(at + 1, Arc::new(behind));
        }
        None
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Stored> {
        let at = self.leaf_of(key);
        let place = find(self.leaves.get(at)?, key).ok()?;
        let leaves = Arc::make_mut(&mut self.leaves);
        let leaf = Arc::make_mut(leaves.get_mut(at)?);
        let removed = leaf.remove(place);
        self.len -= 1;
        if leaf.is_empty() {
            leaves.remove(at);
        } else if leaf.len() < LEAF / 4 {
            join(leaves, at);
        }
        Some(removed)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Stored> {
        self.leaves.iter().flat_map(|leaf| leaf.iter())
    }

    /// The objects from a key on, with it if there is one.
    pub(crate) fn iter_from(&self, start: &str) -> impl Iterator<Item = &Stored> {
        let at = self.leaf_of(start);
        let first = self.leaves.get(at).map(|leaf| leaf.get(place(leaf, start)..).unwrap_or_default().iter());
        first.into_iter().flatten().chain(self.leaves.iter().skip(at + 1).flat_map(|leaf| leaf.iter()))
    }

    /// The leaf in which a key is or would be: the last one that does not begin behind it.
    fn leaf_of(&self, key: &str) -> usize {
        let begins = |leaf: &Leaf| leaf.first().is_some_and(|first| first.key() <= key);
        self.leaves.partition_point(begins).saturating_sub(1)
    }
}

impl FromIterator<Stored> for Tree {
    /// Of several objects with one key, the last one counts.
    fn from_iter<I: IntoIterator<Item = Stored>>(objects: I) -> Self {
        let mut tree = Self::default();
        objects.into_iter().for_each(|object| drop(tree.insert(object)));
        tree
    }
}

fn find(leaf: &[Stored], key: &str) -> Result<usize, usize> {
    leaf.binary_search_by(|object| object.key().cmp(key))
}

/// Of a key, or of the first one behind it.
fn place(leaf: &[Stored], key: &str) -> usize {
    find(leaf, key).unwrap_or_else(|place| place)
}

/// Joins a small leaf with the one behind it, or else with the one before, if the two make one.
fn join(leaves: &mut Vec<Leaf>, at: usize) {
    for first in [Some(at), at.checked_sub(1)].into_iter().flatten() {
        let (Some(one), Some(other)) = (leaves.get(first), leaves.get(first + 1)) else { continue };
        // With room left, or the next insert would part them again.
        if one.len() + other.len() <= LEAF / 4 * 3 {
            let other = leaves.remove(first + 1);
            if let Some(one) = leaves.get_mut(first) {
                Arc::make_mut(one).extend(other.iter().cloned());
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::stored::forms::FormCache;

    type Model = BTreeMap<String, i64>;

    fn content<'a>(objects: impl Iterator<Item = &'a Stored>) -> Vec<(String, i64)> {
        objects.map(|object| (object.key().to_owned(), object.revision())).collect()
    }

    fn expected(model: &Model, start: &str) -> Vec<(String, i64)> {
        model.range(start.to_owned()..).map(|(key, revision)| (key.clone(), *revision)).collect()
    }

    fn check(tree: &Tree, model: &Model) {
        assert_eq!((tree.len(), content(tree.iter())), (model.len(), expected(model, "")));
        assert!(tree.leaves.iter().all(|leaf| !leaf.is_empty() && leaf.len() <= LEAF));
    }

    proptest! {
        #[test]
        fn a_tree_is_an_ordered_map_whose_copies_stay_as_they_are(
            // Long runs of inserts and of removals, so that leaves part and join.
            runs in proptest::collection::vec((any::<bool>(), 0..600_u32, 1..250_u32, 1..7_u32), 1..12),
        ) {
            let cache = FormCache::new(0);
            let (mut tree, mut model, mut copies) = (Tree::default(), Model::new(), Vec::new());
            let mut revision = 0;
            for (insert, first, count, step) in runs {
                copies.push((tree.clone(), model.clone()));
                for number in 0..count {
                    revision += 1;
                    let key = format!("pods/{:05}", (first + number * step) % 600);
                    if insert {
                        let before = tree.insert(Stored::new(&key, revision, Bytes::new(), &cache));
                        let expected = model.insert(key, revision);
                        prop_assert_eq!(before.map(|before| before.revision()), expected);
                    } else {
                        let removed = tree.remove(&key).map(|removed| removed.revision());
                        prop_assert_eq!(removed, model.remove(&key));
                    }
                }
                check(&tree, &model);
                for number in [0, first, 599, 600] {
                    let key = format!("pods/{number:05}");
                    prop_assert_eq!(tree.get(&key).map(|found| found.revision()), model.get(&key).copied());
                    prop_assert_eq!(content(tree.iter_from(&key)), expected(&model, &key));
                    prop_assert_eq!(content(tree.iter_from(&key[..6])), expected(&model, &key[..6]));
                }
            }
            for (copy, model) in copies {
                check(&copy, &model);
            }
        }
    }

    #[test]
    fn keys_that_only_grow_fill_their_leaves() {
        let cache = FormCache::new(0);
        let object = |number| Stored::new(&format!("pods/{number:05}"), 1, Bytes::new(), &cache);
        let tree: Tree = (0..LEAF * 10).map(object).collect();
        assert_eq!((tree.len(), tree.leaves.len()), (LEAF * 10, 10));
    }
}
