//! Secrets: where they stand, and what is read there when they are needed.

use std::{fmt, path::PathBuf, sync::Arc};

use crate::regular;

/// A secret that the configuration names and never stores. Read when it is needed, so that it can be rotated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Secret {
    Env(Arc<str>),
    File(PathBuf),
}

/// Why there is no secret where it was looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("environment variable {0} is not set")]
    NotSet(Arc<str>),
    /// The file, and why it can't be read.
    #[error("{}: {reason}", .path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{}: is not UTF-8 text", .0.display())]
    NotText(PathBuf),
}

impl Secret {
    /// The secret itself, without a trailing newline. The error names where it was looked for.
    pub fn read(&self) -> Result<String, SecretError> {
        let found = match self {
            Secret::Env(name) => {
                std::env::var(name.as_ref()).map_err(|_| SecretError::NotSet(name.clone()))?
            }
            Secret::File(path) => {
                let octets = regular::octets(path, MAX_SECRET);
                let octets = octets.map_err(|fault| SecretError::Unreadable {
                    path: path.clone(),
                    reason: fault.to_string(),
                })?;
                String::from_utf8(octets).map_err(|_| SecretError::NotText(path.clone()))?
            }
        };
        Ok(found.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The file that holds it, where one does.
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Secret::Env(_) => None,
            Secret::File(path) => Some(path),
        }
    }
}

/// Where it stands; never what it is.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Env(name) => write!(f, "environment variable {name}"),
            Secret::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// No key and no token is longer.
const MAX_SECRET: u64 = 64 * 1024;

/// A value that stands in the file, or a secret that it names.
#[derive(Clone, Debug, PartialEq)]
pub enum Text {
    Plain(Arc<str>),
    Secret(Secret),
}

impl Text {
    pub fn read(&self) -> Result<String, SecretError> {
        match self {
            Text::Plain(text) => Ok(text.to_string()),
            Text::Secret(secret) => secret.read(),
        }
    }
}
