//! Values of arguments that more than one verb takes, and what is said of a bad one.

use crate::{
    challenge::Method,
    number::{Country, NoCountry},
};

/// It is none of the methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one of {}", Method::ALL.map(Method::name).join(", "))]
pub struct NoMethod;

pub fn method(text: &str) -> Result<Method, NoMethod> {
    Method::parse(text).ok_or(NoMethod)
}

/// A country, as it is written.
pub fn region(text: &str) -> Result<String, NoCountry> {
    text.parse::<Country>().map(|country| country.to_string())
}
