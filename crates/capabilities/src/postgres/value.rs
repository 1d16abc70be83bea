//! Values of the interface from and to those of the server. What has no form on the other side is
//! refused, never changed.

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, Kind, Type};
use uuid::Uuid;

use super::{
    number, shapes, time,
    types::PgValue as V,
    wire::{Unfit, list, mismatch, put_list, text, whole},
};

/// A value of a row.
pub(super) fn decode(of: &Type, raw: Option<&[u8]>) -> Result<V, Unfit> {
    let Some(raw) = raw else {
        return Ok(V::Null);
    };
    Ok(match *of {
        Type::BOOL => V::Bool(boolean(raw)?),
        Type::BOOL_ARRAY => V::BoolArray(list(raw, boolean)?),
        Type::INT2 => V::Int2(int2(raw)?),
        Type::INT2_ARRAY => V::Int2Array(list(raw, int2)?),
        Type::INT2_VECTOR => V::Int2Vector(list(raw, int2)?),
        Type::INT2_VECTOR_ARRAY => V::Int2VectorArray(list(raw, |raw| list(raw, int2))?),
        Type::INT4 => V::Int4(int4(raw)?),
        Type::INT4_ARRAY => V::Int4Array(list(raw, int4)?),
        Type::INT8 => V::Int8(int8(raw)?),
        Type::INT8_ARRAY => V::Int8Array(list(raw, int8)?),
        Type::OID => V::Int8(oid(raw)?),
        Type::OID_ARRAY => V::Int8Array(list(raw, oid)?),
        Type::FLOAT4 => V::Float4(float4(raw)?),
        Type::FLOAT4_ARRAY => V::Float4Array(list(raw, float4)?),
        Type::FLOAT8 => V::Float8(float8(raw)?),
        Type::FLOAT8_ARRAY => V::Float8Array(list(raw, float8)?),
        Type::NUMERIC => V::Numeric(number::digits(raw)?),
        Type::NUMERIC_ARRAY => V::NumericArray(list(raw, number::digits)?),
        Type::BIT => V::Bit(shapes::bits(raw)?),
        Type::BIT_ARRAY => V::BitArray(list(raw, shapes::bits)?),
        Type::VARBIT => V::Varbit(varying(raw)?),
        Type::VARBIT_ARRAY => V::VarbitArray(list(raw, varying)?),
        Type::BYTEA => V::Bytea(raw.to_vec()),
        Type::BYTEA_ARRAY => V::ByteaArray(list(raw, |raw| Ok(raw.to_vec()))?),
        Type::CHAR | Type::BPCHAR => V::Char(characters(raw)?),
        Type::CHAR_ARRAY | Type::BPCHAR_ARRAY => V::CharArray(list(raw, characters)?),
        Type::VARCHAR => V::Varchar((None, raw.to_vec())),
        Type::VARCHAR_ARRAY => V::VarcharArray(list(raw, |raw| Ok((None, raw.to_vec())))?),
        Type::TEXT | Type::UNKNOWN => V::Text(text(raw)?),
        Type::TEXT_ARRAY => V::TextArray(list(raw, text)?),
        Type::NAME => V::Name(text(raw)?),
        Type::NAME_ARRAY => V::NameArray(list(raw, text)?),
        Type::XML => V::Xml(text(raw)?),
        Type::XML_ARRAY => V::XmlArray(list(raw, text)?),
        Type::JSON => V::Json(text(raw)?),
        Type::JSON_ARRAY => V::JsonArray(list(raw, text)?),
        Type::JSONB => V::Jsonb(jsonb(raw)?),
        Type::JSONB_ARRAY => V::JsonbArray(list(raw, jsonb)?),
        Type::UUID => V::Uuid(uuid(raw)?),
        Type::UUID_ARRAY => V::UuidArray(list(raw, uuid)?),
        Type::DATE => V::Date(time::date(raw)?),
        Type::DATE_ARRAY => V::DateArray(list(raw, time::date)?),
        Type::TIME => V::Time(time::time(raw)?),
        Type::TIME_ARRAY => V::TimeArray(list(raw, time::time)?),
        Type::TIMETZ => V::TimeTz(time::time_tz(raw)?),
        Type::TIMETZ_ARRAY => V::TimeTzArray(list(raw, time::time_tz)?),
        Type::TIMESTAMP => V::Timestamp(time::timestamp(raw)?),
        Type::TIMESTAMP_ARRAY => V::TimestampArray(list(raw, time::timestamp)?),
        Type::TIMESTAMPTZ => V::TimestampTz(time::timestamp_tz(raw)?),
        Type::TIMESTAMPTZ_ARRAY => V::TimestampTzArray(list(raw, time::timestamp_tz)?),
        Type::CIDR => V::Cidr(shapes::inet(raw)?),
        Type::CIDR_ARRAY => V::CidrArray(list(raw, shapes::inet)?),
        Type::INET => V::Inet(shapes::inet(raw)?),
        Type::INET_ARRAY => V::InetArray(list(raw, shapes::inet)?),
        Type::MACADDR => V::Macaddr(shapes::mac(raw)?),
        Type::MACADDR_ARRAY => V::MacaddrArray(list(raw, shapes::mac)?),
        Type::MACADDR8 => V::Macaddr8(shapes::mac8(raw)?),
        Type::MACADDR8_ARRAY => V::Macaddr8Array(list(raw, shapes::mac8)?),
        Type::POINT => V::Point(shapes::point(raw)?),
        Type::POINT_ARRAY => V::PointArray(list(raw, shapes::point)?),
        Type::LSEG => V::Lseg(shapes::two_points(raw)?),
        Type::LSEG_ARRAY => V::LsegArray(list(raw, shapes::two_points)?),
        Type::BOX => V::Box(corners(raw)?),
        Type::CIRCLE => V::Circle(shapes::circle(raw)?),
        Type::CIRCLE_ARRAY => V::CircleArray(list(raw, shapes::circle)?),
        Type::PATH => V::Path(shapes::path(raw)?),
        Type::PATH_ARRAY => V::PathArray(list(raw, shapes::path)?),
        Type::POLYGON => V::Polygon(shapes::polygon(raw)?),
        Type::POLYGON_ARRAY => V::PolygonArray(list(raw, shapes::polygon)?),
        Type::PG_LSN => V::PgLsn(u64::from_be_bytes(whole(raw)?)),
        Type::PG_LSN_ARRAY => V::PgLsnArray(list(raw, |raw| whole(raw).map(u64::from_be_bytes))?),
        Type::PG_SNAPSHOT | Type::TXID_SNAPSHOT => V::PgSnapshot(shapes::snapshot(raw)?),
        // What a function without a result answers.
        Type::VOID => V::Null,
        _ => return decode_other(of, raw),
    })
}

/// Bytes that the decimals of a value have as digits, at most: many times those that come.
pub(super) fn digits(of: &Type, raw: Option<&[u8]>) -> usize {
    match (of, of.kind(), raw) {
        (&Type::NUMERIC, _, Some(raw)) => number::length(raw).unwrap_or(0),
        (&Type::NUMERIC_ARRAY, _, Some(raw)) => {
            list(raw, number::length).map_or(0, |all| all.iter().sum())
        }
        (_, Kind::Domain(base), _) => digits(base, raw),
        _ => 0,
    }
}

/// A value of a type that the database defines, or that the interface has no form for.
fn decode_other(of: &Type, raw: &[u8]) -> Result<V, Unfit> {
    match (of.kind(), of.name()) {
        (Kind::Domain(base), _) => decode(base, Some(raw)),
        (Kind::Enum(_), _) | (_, "citext") => Ok(V::Text(text(raw)?)),
        (_, "hstore") => Ok(V::Hstore(shapes::pairs(raw)?)),
        (Kind::Array(member), name)
            if matches!(member.kind(), Kind::Enum(_)) || name == "_citext" =>
        {
            Ok(V::TextArray(list(raw, text)?))
        }
        _ => Err(Unfit::new(format_args!(
            "{of} has no form here; cast it in the statement, for example to text"
        ))),
    }
}

/// Writes a value for a parameter of this type.
pub(super) fn encode(value: &V, of: &Type, out: &mut BytesMut) -> Result<IsNull, Unfit> {
    if let Kind::Domain(base) = of.kind() {
        return encode(value, base, out);
    }
    match value {
        V::Null => return Ok(IsNull::Yes),
        V::BigInt(n) | V::Int8(n) | V::BigSerial(n) | V::Serial8(n) => integer(n, of, out),
        V::Integer(n) | V::Int(n) | V::Int4(n) => integer(n, of, out),
        V::Serial(n) | V::Serial4(n) => integer(n, of, out),
        V::SmallInt(n) | V::Int2(n) | V::SmallSerial(n) | V::Serial2(n) => integer(n, of, out),
        V::Int8Array(all) => put_list(of, all, out, integer),
        V::Int4Array(all) => put_list(of, all, out, integer),
        V::Int2Array(all) | V::Int2Vector(all) => put_list(of, all, out, integer),
        V::Int2VectorArray(all) => {
            put_list(of, all, out, |all, of, out| put_list(of, all, out, integer))
        }
        V::Bool(b) | V::Boolean(b) => put_boolean(b, of, out),
        V::BoolArray(all) => put_list(of, all, out, put_boolean),
        V::Double(f) | V::Float8(f) => float(number::float(*f), of, out),
        V::Real(f) | V::Float4(f) => float(number::float32(*f), of, out),
        V::Float8Array(all) => {
            put_list(of, all, out, |f, of, out| float(number::float(*f), of, out))
        }
        V::Float4Array(all) => put_list(of, all, out, |f, of, out| {
            float(number::float32(*f), of, out)
        }),
        V::Numeric(digits) | V::Decimal(digits) => put_digits(digits, of, out),
        V::NumericArray(all) => put_list(of, all, out, put_digits),
        V::Bit(bits) => put_bits(bits, of, out),
        V::BitArray(all) => put_list(of, all, out, put_bits),
        V::BitVarying(bits) | V::Varbit(bits) => put_varying(bits, of, out),
        V::VarbitArray(all) => put_list(of, all, out, put_varying),
        V::Bytea(bytes) => put_bytes(bytes, of, out),
        V::ByteaArray(all) => put_list(of, all, out, put_bytes),
        V::Char((_, bytes)) => put_characters(bytes, of, out),
        V::CharArray(all) => put_list(of, all, out, |(_, b), of, out| put_characters(b, of, out)),
        V::Varchar((_, bytes)) => put_characters(bytes, of, out),
        V::VarcharArray(all) => {
            put_list(of, all, out, |(_, b), of, out| put_characters(b, of, out))
        }
        V::Json(s) | V::Jsonb(s) | V::Name(s) | V::Text(s) | V::Xml(s) => put_text(s, of, out),
        V::JsonArray(all) | V::JsonbArray(all) | V::NameArray(all) | V::TextArray(all) => {
            put_list(of, all, out, put_text)
        }
        V::XmlArray(all) | V::UuidArray(all) => put_list(of, all, out, put_text),
        V::Uuid(s) => put_text(s, of, out),
        V::Cidr(s) | V::Inet(s) => put_inet(s, of, out),
        V::CidrArray(all) | V::InetArray(all) => put_list(of, all, out, put_inet),
        V::Date(date) => put_date(date, of, out),
        V::DateArray(all) => put_list(of, all, out, put_date),
        V::Time(time) => put_time(time, of, out),
        V::TimeArray(all) => put_list(of, all, out, put_time),
        V::TimeTz(time) => put_time_tz(time, of, out),
        V::TimeTzArray(all) => put_list(of, all, out, put_time_tz),
        V::Timestamp(time) => put_timestamp(time, of, out),
        V::TimestampArray(all) => put_list(of, all, out, put_timestamp),
        V::TimestampTz(time) => put_timestamp_tz(time, of, out),
        V::TimestampTzArray(all) => put_list(of, all, out, put_timestamp_tz),
        V::Hstore(pairs) if of.name() == "hstore" => shapes::put_pairs(pairs, out),
        V::PgLsn(n) => put_lsn(n, of, out),
        V::PgLsnArray(all) => put_list(of, all, out, put_lsn),
        value => encode_shape(value, of, out),
    }?;
    Ok(IsNull::No)
}

fn encode_shape(value: &V, of: &Type, out: &mut BytesMut) -> Result<(), Unfit> {
    match (value, of) {
        (V::Macaddr(mac), &Type::MACADDR) => shapes::put_mac(mac, out),
        (V::MacaddrArray(all), &Type::MACADDR_ARRAY) => put_list(of, all, out, |mac, _, out| {
            shapes::put_mac(mac, out);
            Ok(())
        })?,
        (V::Macaddr8(mac), &Type::MACADDR8) => shapes::put_mac8(mac, out),
        (V::Macaddr8Array(all), &Type::MACADDR8_ARRAY) => put_list(of, all, out, |mac, _, out| {
            shapes::put_mac8(mac, out);
            Ok(())
        })?,
        (V::Point(point), &Type::POINT) => shapes::put_point(point, out),
        (V::PointArray(all), &Type::POINT_ARRAY) => put_list(of, all, out, |point, _, out| {
            shapes::put_point(point, out);
            Ok(())
        })?,
        (V::Lseg(ends), &Type::LSEG) => shapes::put_two_points(ends, out),
        (V::LsegArray(all), &Type::LSEG_ARRAY) => put_list(of, all, out, |ends, _, out| {
            shapes::put_two_points(ends, out);
            Ok(())
        })?,
        (V::Box((low, high)), &Type::BOX) => shapes::put_two_points(&(*high, *low), out),
        (V::Circle(circle), &Type::CIRCLE) => shapes::put_circle(circle, out),
        (V::CircleArray(all), &Type::CIRCLE_ARRAY) => put_list(of, all, out, |circle, _, out| {
            shapes::put_circle(circle, out);
            Ok(())
        })?,
        (V::Path(points), &Type::PATH) => shapes::put_path(points, out)?,
        (V::PathArray(all), &Type::PATH_ARRAY) => {
            put_list(of, all, out, |points, _, out| shapes::put_path(points, out))?;
        }
        (V::Polygon(points), &Type::POLYGON) => shapes::put_polygon(points, out)?,
        (V::PolygonArray(all), &Type::POLYGON_ARRAY) => {
            put_list(of, all, out, |points, _, out| {
                shapes::put_polygon(points, out)
            })?;
        }
        (V::PgSnapshot(snapshot), &Type::PG_SNAPSHOT | &Type::TXID_SNAPSHOT) => {
            shapes::put_snapshot(snapshot, out)?;
        }
        _ => return Err(mismatch("this value", of)),
    }
    Ok(())
}

fn boolean(raw: &[u8]) -> Result<bool, Unfit> {
    let [byte] = whole(raw)?;
    Ok(byte != 0)
}

fn int2(raw: &[u8]) -> Result<i16, Unfit> {
    whole(raw).map(i16::from_be_bytes)
}

fn int4(raw: &[u8]) -> Result<i32, Unfit> {
    whole(raw).map(i32::from_be_bytes)
}

fn int8(raw: &[u8]) -> Result<i64, Unfit> {
    whole(raw).map(i64::from_be_bytes)
}

fn oid(raw: &[u8]) -> Result<i64, Unfit> {
    whole(raw).map(|bytes| u32::from_be_bytes(bytes).into())
}

fn float4(raw: &[u8]) -> Result<number::Parts, Unfit> {
    whole(raw).map(|bytes| number::parts32(f32::from_be_bytes(bytes)))
}

fn float8(raw: &[u8]) -> Result<number::Parts, Unfit> {
    whole(raw).map(|bytes| number::parts(f64::from_be_bytes(bytes)))
}

fn varying(raw: &[u8]) -> Result<(Option<u32>, Vec<u8>), Unfit> {
    let (length, bits) = shapes::bits(raw)?;
    Ok((Some(length), bits))
}

fn characters(raw: &[u8]) -> Result<(u32, Vec<u8>), Unfit> {
    let count = str::from_utf8(raw).map_or(raw.len(), |text| text.chars().count());
    Ok((u32::try_from(count).unwrap_or(u32::MAX), raw.to_vec()))
}

fn jsonb(raw: &[u8]) -> Result<String, Unfit> {
    match raw.split_first() {
        Some((1, json)) => text(json),
        _ => Err(Unfit::new("it is a version of jsonb that is not known")),
    }
}

fn uuid(raw: &[u8]) -> Result<String, Unfit> {
    Ok(Uuid::from_bytes(whole(raw)?).to_string())
}

fn corners(raw: &[u8]) -> Result<(shapes::Point, shapes::Point), Unfit> {
    let (high, low) = shapes::two_points(raw)?;
    Ok((low, high))
}

/// An integer for any type of numbers that holds it whole.
fn integer<N: Copy + Into<i64>>(number: &N, of: &Type, out: &mut BytesMut) -> Result<(), Unfit> {
    let number: i64 = (*number).into();
    let range = |_| Unfit::new(format_args!("{number} is out of the range of {of}"));
    match *of {
        Type::INT2 => out.extend_from_slice(&i16::try_from(number).map_err(range)?.to_be_bytes()),
        Type::INT4 => out.extend_from_slice(&i32::try_from(number).map_err(range)?.to_be_bytes()),
        Type::INT8 => out.extend_from_slice(&number.to_be_bytes()),
        Type::OID => out.extend_from_slice(&u32::try_from(number).map_err(range)?.to_be_bytes()),
        Type::NUMERIC => number::put_digits(&number.to_string(), out)?,
        _ => return Err(mismatch("an integer", of)),
    }
    Ok(())
}

fn float(number: f64, of: &Type, out: &mut BytesMut) -> Result<(), Unfit> {
    match *of {
        Type::FLOAT4 => out.extend_from_slice(&(number as f32).to_be_bytes()),
        Type::FLOAT8 => out.extend_from_slice(&number.to_be_bytes()),
        _ => return Err(mismatch("a float", of)),
    }
    Ok(())
}

fn put_boolean(value: &bool, of: &Type, out: &mut BytesMut) -> Result<(), Unfit> {
    only(&Type::BOOL, of, "a boolean")?;
    out.extend_from_slice(&[u8::from(*value)]);
    Ok(())
}

fn put_digits(digits: &impl AsRef<str>, of: &Type, out: &mut BytesMut) -> Result<(), Unfit> {
    only(&Type::NUMERIC, of, "a decimal")?;
    number::put_digits(digits.as_ref(), out)
}

fn put_bits(bits: &(u32, Vec<u8>), of: &Type, out: &mut BytesMut) -> Result<(), Unfit> {
    put_varying(&(Some(bits.0), bits.1.clone()), of, out)
}

fn put_varying(bits: &(Option<u32>, Vec<u8>), of: &Type, out: &mut BytesMut) -> Result<(), Unfit> {
    if !matches!(*of, Type::BIT | Type::VARBIT) {
        return Err(mismatch("bits", of));
    }
    shapes::put_varying(bits, out)
}

fn put_bytes(bytes: &impl AsRef<[u8]>, of: &Type, out: &mut BytesMut) -> Result<(), Unfit> {
    only(&Type::BYTEA, of, "bytes")?;
    out.extend_from_slice(bytes.as_ref());
    Ok(())
}

fn put_characters(bytes: &[u8], of: &Type, out: &mut BytesMut) -> Result<(), Unfit> {
    if *of == Type::CHAR {
        out.extend_from_slice(&whole::<1>(bytes)?);
        return Ok(());
    }
    put_text(&text(bytes)?, of, out)
}

/// A text for any type of texts, and for those that are written as one.
fn put_text(value: &String, of: &Type, out: &mut BytesMut) -> Result<(), Unfit> {
    match *of {
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {}
        Type::XML | Type::JSON => {}
        Type::JSONB => out.extend_from_slice(&[1]),
        Type::UUID => {
            let refused = |_| Unfit::new("a UUID is 32 hexadecimal digits in five groups");
            let uuid = Uuid::parse_str(value).map_err(refused)?;
            out.extend_from_slice(uuid.as_bytes());
            return Ok(());
        }
        _ if matches!(of.kind(), Kind::Enum(_)) || of.name() == "citext" => {}
        _ => return Err(mismatch("a text", of)),
    }
    out.extend_from_slice(value.as_bytes());
    Ok(())
}

fn put_inet(text: &impl AsRef<str>, of: &Type, out: &mut BytesMut) -> Result<(), Unfit> {
    match *of {
        Type::INET => shapes::put_inet(text.as_ref(), false, out),
        Type::CIDR => shapes::put_inet(text.as_ref(), true, out),
        _ => Err(mismatch("an address", of)),
    }
}

fn put_date(date: &super::types::Date, of: &Type, out: &mut BytesMut) -> Result<(), Unfit> {
    only(&Type::DATE, of, "a date")?;
    out.extend_from_slice(&time::days(date)?.to_be_bytes());
    Ok(())
}

fn put_time(value: &super::types::Time, of: &Type, out: &mut BytesMut) -> Result<(), Unfit> {
    only(&Type::TIME, of, "a time")?;
    out.extend_from_slice(&time::micros(value)?.to_be_bytes());
    Ok(())
}

fn put_time_tz(value: &super::types::TimeTz, of: &Type, out: &mut BytesMut) -> Result<(), Unfit> {
    only(&Type::TIMETZ, of, "a time with its zone")?;
    let (micros, west) = time::zoned(value)?;
    out.extend_from_slice(&micros.to_be_bytes());
    out.extend_from_slice(&west.to_be_bytes());
    Ok(())
}

fn put_timestamp(
    value: &super::types::Timestamp,
    of: &Type,
    out: &mut BytesMut,
) -> Result<(), Unfit> {
    only(&Type::TIMESTAMP, of, "a date and time without a zone")?;
    out.extend_from_slice(&time::instant(value)?.to_be_bytes());
    Ok(())
}

fn put_timestamp_tz(
    value: &super::types::TimestampTz,
    of: &Type,
    out: &mut BytesMut,
) -> Result<(), Unfit> {
    only(&Type::TIMESTAMPTZ, of, "a date and time with a zone")?;
    out.extend_from_slice(&time::universal(value)?.to_be_bytes());
    Ok(())
}

fn put_lsn(value: &u64, of: &Type, out: &mut BytesMut) -> Result<(), Unfit> {
    only(&Type::PG_LSN, of, "a place in the log")?;
    out.extend_from_slice(&value.to_be_bytes());
    Ok(())
}

fn only(wanted: &Type, of: &Type, what: &str) -> Result<(), Unfit> {
    if wanted == of {
        Ok(())
    } else {
        Err(mismatch(what, of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: &[Type] = &[
        Type::BOOL_ARRAY,
        Type::INT2_VECTOR_ARRAY,
        Type::INT8,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::NUMERIC,
        Type::NUMERIC_ARRAY,
        Type::VARBIT,
        Type::BPCHAR,
        Type::TEXT_ARRAY,
        Type::JSONB,
        Type::UUID,
        Type::DATE,
        Type::TIME,
        Type::TIMETZ,
        Type::TIMESTAMP,
        Type::TIMESTAMPTZ_ARRAY,
        Type::INET,
        Type::CIDR,
        Type::MACADDR8,
        Type::BOX,
        Type::CIRCLE,
        Type::PATH,
        Type::POLYGON,
        Type::PG_SNAPSHOT,
        Type::INTERVAL,
    ];

    /// Whatever a server sends, and whatever a guest makes of it, there is an answer.
    #[test]
    fn no_bytes_are_too_wild() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut decoded = 0;
        for _ in 0..4_000 {
            let length = random() % 40;
            // Small numbers are lengths that fit, large ones are those that don't.
            let byte = |of: u64| {
                if of & 3 == 0 {
                    (of >> 8) as u8
                } else {
                    (of >> 8 & 3) as u8
                }
            };
            let mut raw: Vec<u8> = (0..length).map(|_| byte(random())).collect();
            if random() & 7 == 0 {
                raw.fill(if random() & 1 == 0 { 0xff } else { 0x80 });
            }
            for of in TYPES {
                if let Ok(value) = decode(of, Some(&raw)) {
                    decoded += 1;
                    let mut out = BytesMut::new();
                    let _ = encode(&value, of, &mut out);
                }
            }
        }
        assert!(decoded > 2_000, "{decoded} were values");
    }
}
