//! What everybody may see.

use std::collections::BTreeSet;

/// Paths, and what others begin with. Their first `/` does not count, as in the original.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    whole: BTreeSet<String>,
    beginnings: Vec<String>,
}

impl Paths {
    /// A path that ends with `*` stands for all that begin with what is before it.
    ///
    /// # Errors
    /// There is another `*`.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut all = Self::default();
        for path in paths {
            let path = path.strip_prefix('/').unwrap_or(path);
            let (beginning, is_beginning) = match path.strip_suffix('*') {
                Some(beginning) => (beginning, true),
                None => (path, false),
            };
            if beginning.contains('*') {
                return Err(format!("only the last character of {path:?} may be *"));
            }
            match is_beginning {
                true => all.beginnings.push(beginning.to_owned()),
                false => _ = all.whole.insert(path.to_owned()),
            }
        }
        Ok(all)
    }

    pub fn has(&self, path: &str) -> bool {
        let path = path.strip_prefix('/').unwrap_or(path);
        self.whole.contains(path) || self.beginnings.iter().any(|beginning| path.starts_with(beginning))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_whole_or_a_beginning() {
        let paths = Paths::of(["/healthz", "livez", "/metrics/*"]).expect("paths");
        for path in ["/healthz", "/livez", "/metrics/", "/metrics/slis"] {
            assert!(paths.has(path), "{path}");
        }
        for path in ["/", "/healthz/ping", "/metrics", "/health"] {
            assert!(!paths.has(path), "{path}");
        }
        assert!(Paths::of(["/"]).expect("the root").has("/"));
        assert!(Paths::of(["*"]).expect("all").has("/metrics"));
        assert!(Paths::of(["/a*b"]).is_err() && Paths::of(["/**"]).is_err());
    }
}
