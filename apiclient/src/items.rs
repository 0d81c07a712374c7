//! A list taken apart while it arrives: one object at a time, so that no list is ever held as a whole.

/// Cuts the text of a list into its items. Only brackets, braces and strings are looked at: what is wrong inside an
/// item is said by who decodes it.
#[derive(Debug, Default)]
pub struct Splitter {
    /// The item that is on its way.
    item: Vec<u8>,
    /// Everything around the items.
    rest: Vec<u8>,
    /// Open brackets and braces.
    depth: u32,
    place: Place,
    within_items: bool,
    /// Where the last string of the outermost object begins in `rest`, and where it ends.
    name: (usize, usize),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Plain,
    String,
    /// After a backslash.
    Escaped,
}

/// The depth of the items themselves: in an array, in an object.
const ITEMS: u32 = 2;

impl Splitter {
    /// Takes the next part of the text; `take` gets each item that ends in it.
    pub fn feed(&mut self, part: &[u8], mut take: impl FnMut(&[u8])) {
        for &byte in part {
            let ends = self.step(byte);
            if ends {
                take(&self.item);
                self.item.clear();
            }
        }
    }

    /// What stood around the items, once the text is complete: an object whose `items` is empty.
    pub fn rest(&self) -> Option<&[u8]> {
        (self.depth == 0 && !self.rest.is_empty()).then_some(&self.rest)
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.item.len() + self.rest.len()
    }

    /// Whether an item ends with this byte.
    fn step(&mut self, byte: u8) -> bool {
        if self.place != Place::Plain {
            self.keep(byte);
            self.place = match (self.place, byte) {
                (Place::String, b'\\') => Place::Escaped,
                (Place::String, b'"') => {
                    self.name.1 = self.rest.len();
                    Place::Plain
                }
                _ => Place::String,
            };
            return false;
        }
        match byte {
            b'"' => {
                self.place = Place::String;
                self.keep(byte);
                if self.depth == 1 {
                    self.name.0 = self.rest.len() - 1;
                }
            }
            b'{' | b'[' => {
                if byte == b'[' && self.depth == 1 && self.is_named_items() {
                    self.within_items = true;
                    self.rest.push(byte);
                    self.depth += 1;
                    return false;
                }
                self.depth += 1;
                self.keep(byte);
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.within_items && self.depth < ITEMS {
                    self.within_items = false;
                }
                self.keep(byte);
                return self.within_items && self.depth == ITEMS;
            }
            // Commas and blanks between items.
            _ if self.within_items && self.depth == ITEMS => {}
            _ => self.keep(byte),
        }
        false
    }

    fn is_named_items(&self) -> bool {
        self.rest.get(self.name.0..self.name.1) == Some(b"\"items\"")
    }

    fn keep(&mut self, byte: u8) {
        if self.within_items { self.item.push(byte) } else { self.rest.push(byte) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, size: usize) -> (Vec<String>, Option<String>) {
        let (mut splitter, mut items) = (Splitter::default(), Vec::new());
        for part in text.as_bytes().chunks(size) {
            splitter.feed(part, |item| items.push(String::from_utf8_lossy(item).into_owned()));
        }
        (items, splitter.rest().map(|rest| String::from_utf8_lossy(rest).into_owned()))
    }

    #[test]
    fn a_list_is_cut_where_its_items_end_however_it_arrives() {
        let text = r#"{"kind":"items","metadata":{"items":["no"],"resourceVersion":"7"}, "items" : [
            {"a":"} ] \" {","b":[{}]} , {} ],"more":[1,{"x":2}]}"#;
        for size in [1, 2, 7, 1000] {
            let (items, rest) = split(text, size);
            assert_eq!(items, [r#"{"a":"} ] \" {","b":[{}]}"#, "{}"], "{size}");
            let rest: serde_json::Value = serde_json::from_str(&rest.unwrap()).unwrap();
            assert_eq!(rest["metadata"]["resourceVersion"], "7");
            assert_eq!(rest["more"][1]["x"], 2);
            assert_eq!(rest["items"], serde_json::json!([]));
        }
    }

    #[test]
    fn half_a_list_is_none() {
        assert_eq!(split(r#"{"items":[{"a":1},{"b":"#, 4), (vec![r#"{"a":1}"#.to_owned()], None));
        assert_eq!(split("", 1), (vec![], None));
        assert_eq!(split(r#"{"items":null}"#, 3).1.unwrap(), r#"{"items":null}"#);
    }
}
