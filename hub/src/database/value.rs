//! What goes into and comes out of statements.
//!
//! I/O: none.

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::Error;

/// A parameter or a field. Booleans are 0 and 1, times microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing.
    Null,
    /// A number, time or boolean.
    Integer(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A row whose fields are taken in the order in which the statement names them.
#[derive(Debug)]
pub(crate) struct Row(std::vec::IntoIter<Value>);

impl Row {
    pub(super) fn new(fields: Vec<Value>) -> Self {
        Self(fields.into_iter())
    }

    fn take(&mut self) -> Value {
        self.0.next().unwrap_or(Value::Null)
    }

    /// The next field, which is text.
    pub(crate) fn text(&mut self) -> Result<String, Error> {
        self.optional_text()?
            .ok_or_else(|| shape("text", &Value::Null))
    }

    /// The next field, which is text or null.
    pub(crate) fn optional_text(&mut self) -> Result<Option<String>, Error> {
        match self.take() {
            Value::Text(text) => Ok(Some(text)),
            Value::Null => Ok(None),
            other => Err(shape("text", &other)),
        }
    }

    /// The next field, which is a number.
    pub(crate) fn integer(&mut self) -> Result<i64, Error> {
        self.optional_integer()?
            .ok_or_else(|| shape("a number", &Value::Null))
    }

    /// The next field, which is a number or null.
    pub(crate) fn optional_integer(&mut self) -> Result<Option<i64>, Error> {
        match self.take() {
            Value::Integer(number) => Ok(Some(number)),
            Value::Null => Ok(None),
            other => Err(shape("a number", &other)),
        }
    }

    /// The next field, which is 0 or 1.
    pub(crate) fn boolean(&mut self) -> Result<bool, Error> {
        Ok(self.integer()? != 0)
    }

    /// The next field, which is bytes.
    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, Error> {
        match self.take() {
            Value::Bytes(bytes) => Ok(bytes),
            other => Err(shape("bytes", &other)),
        }
    }
}

/// Never the value itself: it may be a secret.
fn shape(expected: &'static str, actual: &Value) -> Error {
    let actual = match actual {
        Value::Null => "nothing",
        Value::Integer(_) => "a number",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
    };
    Error::Shape {
        expected,
        actual: actual.to_owned(),
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value {
    fn from(claim: bool) -> Self {
        Self::Integer(i64::from(claim))
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => number.to_sql_checked(kind, out),
            Self::Text(text) => text.to_sql_checked(kind, out),
            Self::Bytes(bytes) => bytes.to_sql_checked(kind, out),
        }
    }

    // The variants check for themselves.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
