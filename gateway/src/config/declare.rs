//! How settings are declared: one table gives the struct, the defaults, the reading and the reference.
//!
//! [`section!`] is used by the tables in `settings` and `providers`; nothing else describes a setting.

use super::value::Raw;

/// One setting as the reference and the flags see it.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its key inside the section.
    pub name: &'static str,
    /// What it means, with its unit; one string per line of the declaration.
    pub doc: &'static [&'static str],
    /// What may be written.
    pub allowed: String,
    /// What holds when nothing is written.
    pub default: String,
    /// Whether it must not be shown.
    pub secret: bool,
}

/// A value that a setting does not take.
#[derive(Debug)]
pub enum Refused {
    /// The section has no such setting.
    Unknown,
    /// The setting takes something else.
    Invalid {
        /// What it takes.
        allowed: String,
    },
}

/// A table of settings that can be filled by name.
pub trait Section {
    /// Its settings in the order of declaration.
    fn fields(&self) -> Vec<Field>;
    /// Sets one by its key.
    ///
    /// # Errors
    /// [`Refused`], with the table unchanged.
    fn set(&mut self, name: &str, raw: &Raw) -> Result<(), Refused>;
    /// One setting as it would stand in the file, secrets masked; `None` if there is none of that name.
    fn show(&self, name: &str) -> Option<String>;
}

/// Declares one section: a struct whose fields are settings.
///
/// `name: Type = default[, range];` under doc comments that say what it means and in which unit; `#[secret(masked)]`
/// before the name hides the value wherever it would be shown.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $Section:ident {
            $( $(#[doc = $doc:literal])+ $(#[secret($secret:ident)])? $name:ident : $type:ty = $default:expr $(, $range:expr)? ; )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, PartialEq)]
        pub struct $Section { $( $(#[doc = $doc])+ pub $name: $type, )+ }

        impl Default for $Section {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl $crate::config::declare::Section for $Section {
            fn fields(&self) -> Vec<$crate::config::declare::Field> {
                use $crate::config::value::Value as _;
                let default = Self::default();
                vec![ $( $crate::config::declare::Field {
                    name: stringify!($name),
                    doc: &[$($doc),+],
                    allowed: section!(@allowed $type $(, $range)?),
                    default: default.$name.show_default(),
                    secret: section!(@secret $($secret)?),
                }, )+ ]
            }

            fn set(
                &mut self,
                name: &str,
                raw: &$crate::config::value::Raw,
            ) -> Result<(), $crate::config::declare::Refused> {
                match name {
                    $( stringify!($name) => {
                        let value = <$type as $crate::config::value::Value>::read(raw)
                            $(.filter(|value| ($range).contains(value)))?;
                        let Some(value) = value else {
                            return Err($crate::config::declare::Refused::Invalid {
                                allowed: section!(@allowed $type $(, $range)?),
                            });
                        };
                        self.$name = value;
                        Ok(())
                    } )+
                    _ => Err($crate::config::declare::Refused::Unknown),
                }
            }

            fn show(&self, name: &str) -> Option<String> {
                use $crate::config::value::Value as _;
                match name {
                    $( stringify!($name) => {
                        let shown = self.$name.show();
                        Some(if section!(@secret $($secret)?) { $crate::config::value::masked(&shown) } else { shown })
                    } )+
                    _ => None,
                }
            }
        }

        /// Secrets are masked.
        impl std::fmt::Debug for $Section {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                use $crate::config::declare::Section as _;
                let mut shown = f.debug_struct(stringify!($Section));
                $( shown.field(stringify!($name), &format_args!("{}", self.show(stringify!($name)).unwrap_or_default())); )+
                shown.finish()
            }
        }
    };
    (@allowed $type:ty) => { $crate::config::value::allowed_within::<$type>(None) };
    (@allowed $type:ty, $range:expr) => { $crate::config::value::allowed_within::<$type>(Some(&($range))) };
    (@secret) => { false };
    (@secret masked) => { true };
}
pub(crate) use section;
