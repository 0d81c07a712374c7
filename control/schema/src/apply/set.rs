//! Sets of fields: who owns what, and what differs between two objects.
//!
//! A set is a tree in which each step says whether the field there is a member, and what is below it. What is above a
//! member need not be one.

use std::cmp::Ordering;

use super::path::Element;

/// A set of fields. Its nodes are sorted, each holds a member somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set<'a> {
    pub(super) nodes: Vec<Node<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node<'a> {
    pub at: Element<'a>,
    pub member: bool,
    pub below: Set<'a>,
}

impl<'a> Set<'a> {
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The fields with these names, from the root: `[["status"], ["metadata", "name"]]`.
    pub fn of_fields(paths: &[&[&'a str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let mut at = &mut set;
            for (n, name) in path.iter().enumerate() {
                let node = at.node(Element::Field((*name).into()));
                node.member |= n + 1 == path.len();
                at = &mut node.below;
            }
        }
        set
    }

    /// The node of a step, made where there is none.
    fn node(&mut self, at: Element<'a>) -> &mut Node<'a> {
        let place = match self.nodes.last() {
            Some(last) if last.at < at => Err(self.nodes.len()),
            _ => self.nodes.binary_search_by(|node| node.at.cmp(&at)),
        };
        let place = place.unwrap_or_else(|place| {
            self.nodes.insert(place, Node { at, member: false, below: Set::default() });
            place
        });
        &mut self.nodes[place]
    }

    /// Adds a step with what is below it, where there is anything to add.
    pub(super) fn attach(&mut self, at: impl FnOnce() -> Element<'a>, member: bool, below: Set<'a>) {
        if !member && below.is_empty() {
            return;
        }
        let node = self.node(at());
        node.member |= member;
        if node.below.is_empty() {
            node.below = below;
        } else {
            node.below = std::mem::take(&mut node.below).union(below);
        }
    }

    pub(super) fn get(&self, at: &Element<'_>) -> Option<&Node<'a>> {
        let found = self.nodes.binary_search_by(|node| node.at.cmp(at)).ok()?;
        Some(&self.nodes[found])
    }

    pub(super) fn has(&self, path: &[Element<'_>]) -> bool {
        match path {
            [] => false,
            [last] => self.get(last).is_some_and(|node| node.member),
            [first, rest @ ..] => self.get(first).is_some_and(|node| node.below.has(rest)),
        }
    }

    #[must_use]
    pub fn union(self, other: Set<'a>) -> Self {
        if self.is_empty() {
            return other;
        }
        let mut out = Vec::with_capacity(self.nodes.len() + other.nodes.len());
        let (mut ours, mut theirs) = (self.nodes.into_iter().peekable(), other.nodes.into_iter().peekable());
        loop {
            let order = match (ours.peek(), theirs.peek()) {
                (Some(a), Some(b)) => a.at.cmp(&b.at),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Self { nodes: out },
            };
            match order {
                Ordering::Less => out.extend(ours.next()),
                Ordering::Greater => out.extend(theirs.next()),
                Ordering::Equal => {
                    if let (Some(a), Some(b)) = (ours.next(), theirs.next()) {
                        let member = a.member || b.member;
                        out.push(Node { at: a.at, member, below: a.below.union(b.below) });
                    }
                }
            }
        }
    }

    /// The members of both.
    #[must_use]
    pub fn intersection(&self, other: &Set<'_>) -> Self {
        let mut out = Self::default();
        self.zip(other, |node, theirs| {
            if let Some(theirs) = theirs {
                let below = node.below.intersection(&theirs.below);
                out.push(node, node.member && theirs.member, below);
            }
        });
        out
    }

    /// The members that are not members of the other one.
    #[must_use]
    pub fn difference(&self, other: &Set<'_>) -> Self {
        self.clone().less(other, false)
    }

    /// As [`Set::difference`], and what is below a member of the other one goes with it.
    #[must_use]
    pub fn recursive_difference(&self, other: &Set<'_>) -> Self {
        self.clone().less(other, true)
    }

    /// Either difference, without a copy.
    #[must_use]
    pub(super) fn less(mut self, other: &Set<'_>, recursive: bool) -> Self {
        let mut theirs = other.nodes.iter().peekable();
        self.nodes.retain_mut(|node| {
            while theirs.next_if(|theirs| theirs.at < node.at).is_some() {}
            let Some(theirs) = theirs.next_if(|theirs| theirs.at == node.at) else { return true };
            if theirs.member && recursive {
                return false;
            }
            node.member &= !theirs.member;
            node.below = std::mem::take(&mut node.below).less(&theirs.below, recursive);
            node.member || !node.below.is_empty()
        });
        self
    }

    fn push(&mut self, like: &Node<'a>, member: bool, below: Set<'a>) {
        if member || !below.is_empty() {
            self.nodes.push(Node { at: like.at.clone(), member, below });
        }
    }

    /// Our nodes, each with the other's of the same step.
    fn zip<'s, 'o, 'b>(&'s self, other: &'o Set<'b>, mut f: impl FnMut(&'s Node<'a>, Option<&'o Node<'b>>)) {
        let mut theirs = other.nodes.iter().peekable();
        for node in &self.nodes {
            while theirs.next_if(|theirs| theirs.at < node.at).is_some() {}
            f(node, theirs.next_if(|theirs| theirs.at == node.at));
        }
    }

    /// Every member's path: at each level the members first, then what is below.
    pub(super) fn paths(&self, f: &mut impl FnMut(&[Element<'a>])) {
        self.paths_below(&mut Vec::new(), f);
    }

    fn paths_below(&self, above: &mut Vec<Element<'a>>, f: &mut impl FnMut(&[Element<'a>])) {
        for node in self.nodes.iter().filter(|node| node.member) {
            above.push(node.at.clone());
            f(above);
            above.pop();
        }
        for node in self.nodes.iter().filter(|node| !node.below.is_empty()) {
            above.push(node.at.clone());
            node.below.paths_below(above, f);
            above.pop();
        }
    }

    pub fn into_owned(self) -> Set<'static> {
        let nodes = self.nodes.into_iter().map(|node| Node {
            at: node.at.into_owned(),
            member: node.member,
            below: node.below.into_owned(),
        });
        Set { nodes: nodes.collect() }
    }
}
