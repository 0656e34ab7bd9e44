//! The types a setting may have: how each is read from words or from TOML, described, and shown.
//!
//! Knows nothing of which settings exist.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use filature_billing::chain::Network;
use filature_provider_sdk::Dialect;

/// A setting's value as it was written, before it has a type.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// From an environment variable or a flag: everything is words there, and lists are separated by commas.
    Words(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer or float, in decimal.
    Number(String),
    /// A TOML boolean.
    Bool(bool),
    /// A TOML array of strings.
    List(Vec<String>),
    /// TOML that no setting takes, named by its kind.
    Other(&'static str),
}

impl Raw {
    /// The value as a problem quotes it; long ones are cut.
    #[must_use]
    pub fn quoted(&self) -> String {
        const CHARS_MAX: usize = 80;
        let shown = match self {
            Self::Words(text) | Self::Text(text) => format!("{text:?}"),
            Self::Number(text) => text.clone(),
            Self::Bool(value) => value.to_string(),
            Self::List(items) => format!("{items:?}"),
            Self::Other(kind) => format!("a TOML {kind}"),
        };
        if shown.chars().count() <= CHARS_MAX {
            return shown;
        }
        shown.chars().take(CHARS_MAX).chain("…".chars()).collect()
    }

    fn number(&self) -> Option<String> {
        match self {
            Self::Words(text) => Some(text.trim().replace('_', "")),
            Self::Number(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Words(text) | Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A type a setting may have.
pub trait Value: Sized {
    /// Reads a value, or `None` when it is not of this type.
    fn read(raw: &Raw) -> Option<Self>;
    /// What may be written, for the reference and for problems.
    fn allowed() -> String;
    /// The value as it would stand in the file.
    fn show(&self) -> String;
    /// The default as the reference shows it.
    fn show_default(&self) -> String {
        self.show()
    }
}

/// What may be written where the value must also lie in `range`.
#[must_use]
pub fn allowed_within<T: Value>(range: Option<&RangeInclusive<T>>) -> String {
    match range {
        Some(range) => format!(
            "{} from {} to {}",
            T::allowed(),
            range.start().show(),
            range.end().show()
        ),
        None => T::allowed(),
    }
}

macro_rules! whole_numbers {
    ($($type:ty),+) => { $(
        impl Value for $type {
            fn read(raw: &Raw) -> Option<Self> {
                raw.number()?.parse().ok()
            }
            fn allowed() -> String {
                "a whole number".to_owned()
            }
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+ };
}
whole_numbers!(u16, u32, u64, usize);

impl Value for f64 {
    fn read(raw: &Raw) -> Option<Self> {
        raw.number()?.parse().ok().filter(|value: &Self| value.is_finite())
    }
    fn allowed() -> String {
        "a number".to_owned()
    }
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for bool {
    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Bool(value) => Some(*value),
            Raw::Words(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
    fn allowed() -> String {
        "true or false".to_owned()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn read(raw: &Raw) -> Option<Self> {
        raw.text().map(str::to_owned)
    }
    fn allowed() -> String {
        "text".to_owned()
    }
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for PathBuf {
    fn read(raw: &Raw) -> Option<Self> {
        raw.text().filter(|text| !text.is_empty()).map(Self::from)
    }
    fn allowed() -> String {
        "a path".to_owned()
    }
    fn show(&self) -> String {
        format!("{:?}", self.to_string_lossy())
    }
}

impl Value for SocketAddr {
    fn read(raw: &Raw) -> Option<Self> {
        let text = raw.text()?.trim();
        text.strip_prefix("localhost:")
            .map_or_else(|| text.parse().ok(), |port| format!("127.0.0.1:{port}").parse().ok())
    }
    fn allowed() -> String {
        "an IP address and a port, such as 127.0.0.1:8080 or [::]:8080".to_owned()
    }
    fn show(&self) -> String {
        format!("{:?}", self.to_string())
    }
}

/// `None` is an absent setting. An empty variable or flag unsets what a lower layer set.
impl Value for Option<String> {
    fn read(raw: &Raw) -> Option<Self> {
        raw.text()
            .map(|text| (!text.trim().is_empty()).then(|| text.to_owned()))
    }
    fn allowed() -> String {
        "text, or empty for none".to_owned()
    }
    fn show(&self) -> String {
        format!("{:?}", self.as_deref().unwrap_or_default())
    }
    fn show_default(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), |_| self.show())
    }
}

/// `None` is an absent setting, as with texts.
impl Value for Option<SocketAddr> {
    fn read(raw: &Raw) -> Option<Self> {
        if raw.text()?.trim().is_empty() {
            return Some(None);
        }
        SocketAddr::read(raw).map(Some)
    }
    fn allowed() -> String {
        format!("{}, or empty for none", SocketAddr::allowed())
    }
    fn show(&self) -> String {
        self.map_or_else(|| "\"\"".to_owned(), |address| address.show())
    }
    fn show_default(&self) -> String {
        self.map_or_else(|| "none".to_owned(), |address| address.show())
    }
}

/// Lists stand as arrays in the file and separated by commas in variables and flags.
impl Value for Vec<String> {
    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::List(items) => Some(items.clone()),
            Raw::Words(text) => Some(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(str::to_owned)
                    .collect(),
            ),
            _ => None,
        }
    }
    fn allowed() -> String {
        "a list of texts (separated by commas outside the file)".to_owned()
    }
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

/// Declares a setting that takes one of a few words.
macro_rules! choice {
    ($(#[doc = $about:literal])+ pub enum $Name:ident { $(#[doc = $doc:literal] $Variant:ident = $word:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $Name { $(#[doc = $doc] $Variant,)+ }

        impl Value for $Name {
            fn read(raw: &Raw) -> Option<Self> {
                match raw.text()?.trim() {
                    $($word => Some(Self::$Variant),)+
                    _ => None,
                }
            }
            fn allowed() -> String {
                [$(concat!("`", $word, "`")),+].join(" or ")
            }
            fn show(&self) -> String {
                match self { $(Self::$Variant => format!("{:?}", $word),)+ }
            }
        }
    };
}

choice! {
    /// Who may open a tunnel.
    pub enum Registration {
        /// Any provider with a valid offer.
        Open = "open",
        /// Only the provider keys listed.
        AllowList = "allow-list",
    }
}

choice! {
    /// How log lines look.
    pub enum LogFormat {
        /// Text on a terminal, JSON otherwise.
        Auto = "auto",
        /// Lines for people.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}

impl Value for Network {
    fn read(raw: &Raw) -> Option<Self> {
        match raw.text()?.trim() {
            "mainnet" => Some(Self::Mainnet),
            "testnet" => Some(Self::Testnet),
            _ => None,
        }
    }

    fn allowed() -> String {
        "`mainnet` or `testnet`".to_owned()
    }

    fn show(&self) -> String {
        match self {
            Self::Mainnet => "\"mainnet\"".to_owned(),
            Self::Testnet => "\"testnet\"".to_owned(),
        }
    }
}

impl Value for Dialect {
    fn read(raw: &Raw) -> Option<Self> {
        raw.text()?.trim().parse().ok()
    }
    fn allowed() -> String {
        Self::NAMED.map(|(name, _)| format!("`{name}`")).join(" or ")
    }
    fn show(&self) -> String {
        format!("{:?}", self.name())
    }
}

/// Hides what is secret in a setting: the password of a URL, or all of anything else.
#[must_use]
pub fn masked(shown: &str) -> String {
    let text = shown.trim_matches('"');
    if text.is_empty() {
        return shown.to_owned();
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return "\"***\"".to_owned();
    };
    match rest.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split_once(':').map_or("", |(user, _)| user);
            format!("\"{scheme}://{user}:***@{host}\"")
        }
        None => shown.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_toml_read_alike() {
        assert_eq!(u32::read(&Raw::Words(" 1_000 ".into())), Some(1000));
        assert_eq!(u32::read(&Raw::Number("1000".into())), Some(1000));
        assert_eq!(
            u32::read(&Raw::Text("1000".into())),
            None,
            "a TOML string is not a number"
        );
        assert_eq!(u32::read(&Raw::Words("-1".into())), None);
        assert_eq!(u16::read(&Raw::Words("65536".into())), None);
        assert_eq!(f64::read(&Raw::Words("NaN".into())), None);
        assert_eq!(bool::read(&Raw::Words("yes".into())), None);
        assert_eq!(Option::<String>::read(&Raw::Words(String::new())), Some(None));
        assert_eq!(
            Vec::<String>::read(&Raw::Words("a, b,".into())),
            Some(vec!["a".into(), "b".into()])
        );
        assert_eq!(
            SocketAddr::read(&Raw::Words("localhost:80".into())),
            "127.0.0.1:80".parse().ok()
        );
        assert_eq!(LogFormat::read(&Raw::Words("JSON".into())), None);
        assert_eq!(
            Registration::read(&Raw::Text("allow-list".into())),
            Some(Registration::AllowList)
        );
    }

    #[test]
    fn passwords_are_hidden_and_hosts_are_not() {
        assert_eq!(
            masked("\"redis://u:s3cret@host:6379/1\""),
            "\"redis://u:***@host:6379/1\""
        );
        assert_eq!(masked("\"redis://s3cret@host\""), "\"redis://:***@host\"");
        assert_eq!(masked("\"redis://host\""), "\"redis://host\"");
        assert_eq!(masked("\"authorization=Bearer x\""), "\"***\"");
        assert_eq!(masked("\"\""), "\"\"");
    }
}
