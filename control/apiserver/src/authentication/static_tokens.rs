//! `--token-auth-file`: lines of `token,user,uid,"group1,group2"`. Read once.

use std::collections::HashMap;
use std::fmt;

use control_core::access::User;
use control_core::tokens::check::Accepted;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::Unauthorized;
use super::bearer::Tokens;

pub struct StaticTokens {
    users: HashMap<String, User>,
    /// A token says nothing of audiences: it is good for those of this server.
    audiences: Vec<String>,
}

/// A line that is none of a token file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct BadLine {
    pub line: usize,
    pub problem: &'static str,
}

impl StaticTokens {
    /// # Errors
    /// A line with fewer than three columns, or with an open quote. Lines with an empty token are passed over, and the
    /// last line of a token counts, as in the original.
    pub fn parse(text: &str, audiences: Vec<String>) -> Result<Self, BadLine> {
        let mut users = HashMap::new();
        for (line, columns) in records(text)? {
            let [token, name, uid, more @ ..] = columns.as_slice() else {
                return Err(BadLine { line, problem: "want at least token, user name and user uid" });
            };
            if token.is_empty() {
                continue;
            }
            let groups = more.first().filter(|groups| !groups.is_empty());
            let groups = groups.map_or_else(Vec::new, |all| all.split(',').map(str::to_owned).collect());
            let user = User { name: name.clone(), uid: uid.clone(), groups, ..User::default() };
            users.insert(token.clone(), user);
        }
        Ok(Self { users, audiences })
    }
}

/// Lines of comma-separated columns with their numbers (RFC 4180 without line breaks in quotes). Blank lines count as
/// none; blanks before a quote belong to the column.
pub(super) fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>, BadLine> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty());
    lines
        .map(|(number, line)| {
            columns(line)
                .map(|found| (number, found))
                .ok_or(BadLine { line: number, problem: "a quote is not closed" })
        })
        .collect()
}

fn columns(line: &str) -> Option<Vec<String>> {
    let (mut found, mut column, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = line.trim_end_matches('\r').chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                column.push('"');
            }
            '"' if quoted || column.is_empty() => quoted = !quoted,
            ',' if !quoted => found.push(std::mem::take(&mut column)),
            other => column.push(other),
        }
    }
    found.push(column);
    (!quoted).then_some(found)
}

impl Tokens for StaticTokens {
    fn accept<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> BoxFuture<'a, Result<Option<Accepted>, Unauthorized>> {
        let good: Vec<_> = audiences.iter().filter(|one| self.audiences.contains(one)).cloned().collect();
        let user = self.users.get(token).filter(|_| !good.is_empty());
        std::future::ready(Ok(user.map(|user| Accepted { user: user.clone(), audiences: good }))).boxed()
    }
}

impl fmt::Debug for StaticTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StaticTokens({})", self.users.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_names_users_and_their_groups() {
        let text = "t1,alice,1,\"devs,ops\"\nt2,bob,2\r\n\n,nobody,3\nt3,carol,4,devs,more\n";
        let found = StaticTokens::parse(text, Vec::new()).expect("a file");
        assert_eq!(found.users["t1"].groups, ["devs", "ops"]);
        assert_eq!((found.users["t2"].name.as_str(), found.users["t2"].groups.len()), ("bob", 0));
        assert_eq!(found.users["t3"].groups, ["devs"]);
        assert_eq!(found.users.len(), 3);
        for (text, line) in [("t,alice", 1), ("t,a,1\nt,\"b,2", 2)] {
            assert_eq!(StaticTokens::parse(text, Vec::new()).expect_err("no file").line, line);
        }
    }

    #[tokio::test]
    async fn a_static_token_is_good_for_this_servers_audiences() {
        let tokens = StaticTokens::parse("t,alice,1", vec!["api".to_owned()]).expect("a file");
        let of = |audience: &str| vec![audience.to_owned()];
        assert!(tokens.accept("t", &of("api")).await.expect("an answer").is_some());
        assert!(tokens.accept("t", &of("vault")).await.expect("an answer").is_none());
        assert!(tokens.accept("u", &of("api")).await.expect("an answer").is_none());
    }
}
