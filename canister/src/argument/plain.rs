//! Decodes arguments of plain types without describing those types first.
//!
//! Candid's decoder builds a description of the Rust type and of the argument's types and walks both: 40,000
//! instructions and more, many times as many as the rest of a small read. What the Rust type wants is known to its
//! `Deserialize`, though, and the argument's types can be read where they lie.
//!
//! Only what needs no decision is decoded here: booleans, fixed numbers, texts, blobs, options of the same type,
//! and vectors, records and variants of those, without a field that is not known. Everything else is left to
//! Candid's decoder, also all errors and their texts: for each argument this returns what that one does, or nothing.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// Longest argument that is looked at, in bytes: what Candid's decoder would take such a one to cost is below any
/// quota.
const MAX_BYTES: usize = 64 * 1024;

/// Most types that an argument may define.
const MAX_TYPES: usize = 32;

const MAGIC: &[u8] = b"DIDL";

const OPT: u8 = 0x6e;
const VEC: u8 = 0x6d;
const RECORD: u8 = 0x6c;
const VARIANT: u8 = 0x6b;

/// A type as the argument names it: an index of its table, or one of Candid's own below zero.
type Kind = i8;

const NULL: Kind = -1;
const BOOL: Kind = -2;
const NAT8: Kind = -5;
const NAT16: Kind = -6;
const NAT32: Kind = -7;
const NAT64: Kind = -8;
const TEXT: Kind = -15;
const EMPTY: Kind = -17;
const PRINCIPAL: Kind = -24;

/// Decodes the only argument of a call, or returns nothing where Candid's decoder is to look at it. Costs about a
/// hundred instructions for each type and field.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    if bytes.len() > MAX_BYTES {
        return None;
    }
    let mut input = Input(bytes.strip_prefix(MAGIC)?);
    let table = Table::read(&mut input)?;
    let kind = match input.number()? {
        // The types of absent arguments are those of `null`.
        0 => NULL,
        1 => input.kind(table.count)?,
        _ => return None,
    };
    let value = Value {
        table: &table,
        input: &mut input,
        kind,
    };
    let value = T::deserialize(value).ok()?;
    input.0.is_empty().then_some(value)
}

/// The argument is not one of those decoded here. It says nothing of what it is.
#[derive(Debug, thiserror::Error)]
#[error("not plain")]
struct NotPlain;

impl de::Error for NotPlain {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self
    }
}

/// Bytes not read yet.
#[derive(Clone, Copy)]
struct Input<'de>(&'de [u8]);

impl<'de> Input<'de> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn bytes(&mut self, length: usize) -> Option<&'de [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    /// Reads a number of 32 bits in at most five bytes.
    fn number(&mut self) -> Option<u32> {
        let mut number = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(number).ok();
            }
        }
        None
    }

    /// Reads a type in one byte; `count` of them are in the table.
    fn kind(&mut self, count: usize) -> Option<Kind> {
        let byte = self.byte()?;
        if byte & 0x80 != 0 {
            return None;
        }
        // Seven bits with a sign.
        let kind = ((byte << 1) as i8) >> 1;
        let is_known = match usize::try_from(kind) {
            Ok(index) => index < count,
            Err(_) => kind >= EMPTY || kind == PRINCIPAL,
        };
        is_known.then_some(kind)
    }

    fn blob(&mut self) -> Option<&'de [u8]> {
        let length = self.number()?;
        self.bytes(usize::try_from(length).ok()?)
    }
}

/// The types that an argument defines, checked, as it spells them.
struct Table<'de> {
    types: [Input<'de>; MAX_TYPES],
    count: usize,
}

impl<'de> Table<'de> {
    fn read(input: &mut Input<'de>) -> Option<Self> {
        let count = usize::try_from(input.number()?).ok()?;
        let mut types = [Input(&[]); MAX_TYPES];
        for place in types.get_mut(..count)? {
            *place = *input;
            match input.byte()? {
                OPT | VEC => {
                    input.kind(count)?;
                }
                RECORD | VARIANT => {
                    let mut least = 0u64;
                    for _ in 0..input.number()? {
                        let id = u64::from(input.number()?);
                        if id < least {
                            return None;
                        }
                        least = id + 1;
                        input.kind(count)?;
                    }
                }
                _ => return None,
            }
        }
        Some(Self { types, count })
    }

    /// Returns what follows a type's first byte, which must be `wanted`.
    fn parts(&self, kind: Kind, wanted: u8) -> Result<Input<'de>, NotPlain> {
        let index = usize::try_from(kind).ok();
        let mut parts = *index
            .and_then(|index| self.types.get(index))
            .ok_or(NotPlain)?;
        if parts.byte() == Some(wanted) {
            Ok(parts)
        } else {
            Err(NotPlain)
        }
    }

    /// Returns what an option or a vector is of.
    fn inner(&self, kind: Kind, wanted: u8) -> Result<Kind, NotPlain> {
        let mut parts = self.parts(kind, wanted)?;
        parts.kind(self.count).ok_or(NotPlain)
    }

    /// Returns the fields of a record or a variant, and their number.
    fn fields(&self, kind: Kind, wanted: u8) -> Result<(Input<'de>, u32), NotPlain> {
        let mut parts = self.parts(kind, wanted)?;
        let count = parts.number().ok_or(NotPlain)?;
        Ok((parts, count))
    }

    /// Reads the next field: its name among the known ones, and its type.
    fn field(
        &self,
        parts: &mut Input<'de>,
        known: &'static [&'static str],
    ) -> Result<(&'static str, Kind), NotPlain> {
        let id = parts.number().ok_or(NotPlain)?;
        let kind = parts.kind(self.count).ok_or(NotPlain)?;
        let name = known.iter().find(|name| id_of(name) == id);
        Ok((name.ok_or(NotPlain)?, kind))
    }
}

/// Returns the number that stands for a name.
fn id_of(name: &str) -> u32 {
    name.bytes().fold(0, |id: u32, byte| {
        id.wrapping_mul(223).wrapping_add(byte.into())
    })
}

/// A value of a type.
struct Value<'a, 'de> {
    table: &'a Table<'de>,
    input: &'a mut Input<'de>,
    kind: Kind,
}

impl<'a, 'de> Value<'a, 'de> {
    fn number<const N: usize>(self, wanted: Kind) -> Result<[u8; N], NotPlain> {
        if self.kind != wanted {
            return Err(NotPlain);
        }
        self.input.array().ok_or(NotPlain)
    }

    fn text(self) -> Result<&'de str, NotPlain> {
        if self.kind != TEXT {
            return Err(NotPlain);
        }
        let bytes = self.input.blob().ok_or(NotPlain)?;
        std::str::from_utf8(bytes).map_err(|_| NotPlain)
    }

    fn blob(self) -> Result<&'de [u8], NotPlain> {
        if self.table.inner(self.kind, VEC)? != NAT8 {
            return Err(NotPlain);
        }
        self.input.blob().ok_or(NotPlain)
    }

    fn record(self, known: &'static [&'static str]) -> Result<Record<'a, 'de>, NotPlain> {
        let (fields, left) = self.table.fields(self.kind, RECORD)?;
        Ok(Record {
            value: self,
            known,
            fields,
            left,
        })
    }
}

impl<'de> de::Deserializer<'de> for Value<'_, 'de> {
    type Error = NotPlain;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NotPlain> {
        Err(NotPlain)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        match self.number(BOOL)? {
            [0] => visitor.visit_bool(false),
            [1] => visitor.visit_bool(true),
            _ => Err(NotPlain),
        }
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        visitor.visit_u8(u8::from_le_bytes(self.number(NAT8)?))
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        visitor.visit_u16(u16::from_le_bytes(self.number(NAT16)?))
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        visitor.visit_u32(u32::from_le_bytes(self.number(NAT32)?))
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        visitor.visit_u64(u64::from_le_bytes(self.number(NAT64)?))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        visitor.visit_borrowed_bytes(self.blob()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        if self.kind == NULL {
            return visitor.visit_none();
        }
        let kind = self.table.inner(self.kind, OPT)?;
        match self.input.byte() {
            Some(0) => visitor.visit_none(),
            Some(1) => visitor.visit_some(Value { kind, ..self }),
            _ => Err(NotPlain),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, NotPlain> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        let kind = self.table.inner(self.kind, VEC)?;
        let left = self.input.number().ok_or(NotPlain)?;
        // Values of no bytes could be billions.
        if left as usize > self.input.0.len() {
            return Err(NotPlain);
        }
        visitor.visit_seq(Elements {
            value: Value { kind, ..self },
            left,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NotPlain> {
        visitor.visit_map(self.record(known)?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NotPlain> {
        let (mut fields, count) = self.table.fields(self.kind, VARIANT)?;
        let index = self.input.number().filter(|index| *index < count);
        for _ in 0..index.ok_or(NotPlain)? {
            fields.number();
            fields.byte();
        }
        let (name, kind) = self.table.field(&mut fields, known)?;
        visitor.visit_enum(Chosen {
            name,
            value: Value { kind, ..self },
        })
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 f64 char bytes unit unit_struct tuple tuple_struct map identifier
        ignored_any
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a vector.
struct Elements<'a, 'de> {
    value: Value<'a, 'de>,
    left: u32,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = NotPlain;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, NotPlain> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let element = Value {
            input: &mut *self.value.input,
            ..self.value
        };
        seed.deserialize(element).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left as usize)
    }
}

/// The fields of a record, in the argument's order. What is absent is known by its absence: `Deserialize` takes
/// an option for `None`, and misses anything else, as Candid does.
struct Record<'a, 'de> {
    /// Its type is that of the field at hand.
    value: Value<'a, 'de>,
    known: &'static [&'static str],
    fields: Input<'de>,
    left: u32,
}

impl<'de> MapAccess<'de> for Record<'_, 'de> {
    type Error = NotPlain;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, NotPlain> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let (name, kind) = self.value.table.field(&mut self.fields, self.known)?;
        self.value.kind = kind;
        let name: StrDeserializer<'_, NotPlain> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, NotPlain> {
        seed.deserialize(Value {
            input: &mut *self.value.input,
            ..self.value
        })
    }
}

/// The chosen case of a variant.
struct Chosen<'a, 'de> {
    name: &'static str,
    value: Value<'a, 'de>,
}

impl<'a, 'de> EnumAccess<'de> for Chosen<'a, 'de> {
    type Error = NotPlain;
    type Variant = Value<'a, 'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Value<'a, 'de>), NotPlain> {
        let name: StrDeserializer<'_, NotPlain> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self.value))
    }
}

impl<'de> VariantAccess<'de> for Value<'_, 'de> {
    type Error = NotPlain;

    fn unit_variant(self) -> Result<(), NotPlain> {
        if self.kind == NULL {
            Ok(())
        } else {
            Err(NotPlain)
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, NotPlain> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, NotPlain> {
        Err(NotPlain)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NotPlain> {
        visitor.visit_map(self.record(known)?)
    }
}

#[cfg(test)]
mod tests;
