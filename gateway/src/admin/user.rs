//! Which user of this machine is at work, for the audit trail.

use std::sync::Arc;

use rustix::process::{Uid, getuid};

/// The list of users (passwd(5)).
const USERS: &str = "/etc/passwd";

/// `cli:` and the user this process belongs to.
#[must_use]
pub fn this() -> Arc<str> {
    operator(getuid())
}

/// `cli:` and the name of a user; their number where they have none.
#[must_use]
pub fn operator(uid: Uid) -> Arc<str> {
    let users = std::fs::read_to_string(USERS).unwrap_or_default();
    let number = uid.as_raw().to_string();
    let name = name(&users, &number).unwrap_or(&number);
    format!("cli:{name}").into()
}

fn name<'a>(users: &'a str, number: &str) -> Option<&'a str> {
    users.lines().find_map(|line| {
        let mut columns = line.split(':');
        let name = columns.next().filter(|name| !name.is_empty())?;
        (columns.nth(1)? == number).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names_or_numbers() {
        let users = "root:x:0:0:root:/root:/bin/sh\n\nbroken\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(name(users, "0"), Some("root"));
        assert_eq!(name(users, "1000"), Some("ada"));
        assert_eq!(name(users, "100"), None);
        assert_eq!(name("", "0"), None);
        assert!(this().starts_with("cli:"));
    }
}
