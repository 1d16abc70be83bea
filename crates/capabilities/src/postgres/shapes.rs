//! Values that are neither numbers nor texts nor times: addresses, bits, shapes, snapshots.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::BytesMut;

use super::{
    number::{self, Parts},
    types::{MacAddressEui48, MacAddressEui64},
    wire::{Unfit, count, part, take, whole},
};

pub(super) type Point = (Parts, Parts);

/// How the server marks addresses of version 4; those of version 6 have the next number.
const VERSION_4: u8 = 2;

pub(super) fn mac(raw: &[u8]) -> Result<MacAddressEui48, Unfit> {
    let [a, b, c, d, e, f] = whole(raw)?;
    Ok(MacAddressEui48 {
        bytes: (a, b, c, d, e, f),
    })
}

pub(super) fn put_mac(mac: &MacAddressEui48, out: &mut BytesMut) {
    let (a, b, c, d, e, f) = mac.bytes;
    out.extend_from_slice(&[a, b, c, d, e, f]);
}

pub(super) fn mac8(raw: &[u8]) -> Result<MacAddressEui64, Unfit> {
    let [a, b, c, d, e, f, g, h] = whole(raw)?;
    Ok(MacAddressEui64 {
        bytes: (a, b, c, d, e, f, g, h),
    })
}

pub(super) fn put_mac8(mac: &MacAddressEui64, out: &mut BytesMut) {
    let (a, b, c, d, e, f, g, h) = mac.bytes;
    out.extend_from_slice(&[a, b, c, d, e, f, g, h]);
}

/// An address with the length of its network, which an address of one machine need not have.
pub(super) fn inet(mut raw: &[u8]) -> Result<String, Unfit> {
    let [family, bits, is_network, _length] = take(&mut raw)?;
    let address: IpAddr = match family {
        VERSION_4 => Ipv4Addr::from(whole::<4>(raw)?).into(),
        _ => Ipv6Addr::from(whole::<16>(raw)?).into(),
    };
    let all = if address.is_ipv4() { 32 } else { 128 };
    Ok(match is_network == 0 && bits == all {
        true => address.to_string(),
        false => format!("{address}/{bits}"),
    })
}

pub(super) fn put_inet(text: &str, is_network: bool, out: &mut BytesMut) -> Result<(), Unfit> {
    let refused = || Unfit::new("an address is written as 10.0.0.1, 10.0.0.0/8 or 2001:db8::1");
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| refused())?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| refused())?;
    let (family, all) = if address.is_ipv4() {
        (VERSION_4, 32)
    } else {
        (VERSION_4 + 1, 128)
    };
    let bits = bits.unwrap_or(all);
    if bits > all {
        return Err(refused());
    }
    out.extend_from_slice(&[family, bits, u8::from(is_network), all / 8]);
    match address {
        IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
    }
    Ok(())
}

/// The number of bits, and the bits.
pub(super) fn bits(mut raw: &[u8]) -> Result<(u32, Vec<u8>), Unfit> {
    let length = count(&mut raw)?;
    if raw.len() != length.div_ceil(8) {
        return Err(Unfit::length());
    }
    Ok((
        u32::try_from(length).map_err(|_| Unfit::length())?,
        raw.to_vec(),
    ))
}

pub(super) fn put_bits(length: u32, bits: &[u8], out: &mut BytesMut) -> Result<(), Unfit> {
    let refused = || Unfit::new("the number of bits and of the bytes that hold them differ");
    let signed = i32::try_from(length).map_err(|_| refused())?;
    if bits.len() != (length as usize).div_ceil(8) {
        return Err(refused());
    }
    out.extend_from_slice(&signed.to_be_bytes());
    out.extend_from_slice(bits);
    Ok(())
}

/// Bits whose number may be left out: then it is that of all bits in the bytes.
pub(super) fn put_varying(
    (length, bits): &(Option<u32>, Vec<u8>),
    out: &mut BytesMut,
) -> Result<(), Unfit> {
    let all = u32::try_from(bits.len() * 8).unwrap_or(u32::MAX);
    put_bits(length.unwrap_or(all), bits, out)
}

fn coordinate(raw: &mut &[u8]) -> Result<Parts, Unfit> {
    Ok(number::parts(f64::from_be_bytes(take(raw)?)))
}

fn put_coordinate(parts: Parts, out: &mut BytesMut) {
    out.extend_from_slice(&number::float(parts).to_be_bytes());
}

fn next_point(raw: &mut &[u8]) -> Result<Point, Unfit> {
    Ok((coordinate(raw)?, coordinate(raw)?))
}

fn at_end<T>(raw: &[u8], value: T) -> Result<T, Unfit> {
    if raw.is_empty() {
        Ok(value)
    } else {
        Err(Unfit::length())
    }
}

pub(super) fn point(mut raw: &[u8]) -> Result<Point, Unfit> {
    let point = next_point(&mut raw)?;
    at_end(raw, point)
}

pub(super) fn put_point(point: &Point, out: &mut BytesMut) {
    put_coordinate(point.0, out);
    put_coordinate(point.1, out);
}

/// Two points, in the order of the wire.
pub(super) fn two_points(mut raw: &[u8]) -> Result<(Point, Point), Unfit> {
    let points = (next_point(&mut raw)?, next_point(&mut raw)?);
    at_end(raw, points)
}

pub(super) fn put_two_points(points: &(Point, Point), out: &mut BytesMut) {
    put_point(&points.0, out);
    put_point(&points.1, out);
}

pub(super) fn circle(mut raw: &[u8]) -> Result<(Point, Parts), Unfit> {
    let circle = (next_point(&mut raw)?, coordinate(&mut raw)?);
    at_end(raw, circle)
}

pub(super) fn put_circle(circle: &(Point, Parts), out: &mut BytesMut) {
    put_point(&circle.0, out);
    put_coordinate(circle.1, out);
}

pub(super) fn polygon(mut raw: &[u8]) -> Result<Vec<Point>, Unfit> {
    let length = count(&mut raw)?;
    let mut corners = part(&mut raw, length.saturating_mul(16))?;
    let points = (0..length)
        .map(|_| next_point(&mut corners))
        .collect::<Result<_, _>>()?;
    at_end(raw, points)
}

pub(super) fn put_polygon(points: &[Point], out: &mut BytesMut) -> Result<(), Unfit> {
    let length = i32::try_from(points.len()).map_err(|_| Unfit::new("it has too many points"))?;
    out.extend_from_slice(&length.to_be_bytes());
    for point in points {
        put_point(point, out);
    }
    Ok(())
}

/// The interface can't say whether a path is closed, so it has open ones only.
pub(super) fn path(mut raw: &[u8]) -> Result<Vec<Point>, Unfit> {
    let [is_closed] = take(&mut raw)?;
    if is_closed != 0 {
        return Err(Unfit::new(
            "a closed path has no form here; cast it to polygon",
        ));
    }
    polygon(raw)
}

pub(super) fn put_path(points: &[Point], out: &mut BytesMut) -> Result<(), Unfit> {
    out.extend_from_slice(&[0]);
    put_polygon(points, out)
}

/// The oldest transaction, the next one, and those that go on between them.
pub(super) fn snapshot(mut raw: &[u8]) -> Result<(i64, i64, Vec<i64>), Unfit> {
    let length = count(&mut raw)?;
    let (first, next) = (take(&mut raw)?, take(&mut raw)?);
    let mut list = part(&mut raw, length.saturating_mul(8))?;
    let going = (0..length).map(|_| take(&mut list).map(i64::from_be_bytes));
    let going = going.collect::<Result<_, _>>()?;
    at_end(
        raw,
        (i64::from_be_bytes(first), i64::from_be_bytes(next), going),
    )
}

pub(super) fn put_snapshot(
    (first, next, going): &(i64, i64, Vec<i64>),
    out: &mut BytesMut,
) -> Result<(), Unfit> {
    let refused = |_| Unfit::new("it has too many transactions");
    let length = i32::try_from(going.len()).map_err(refused)?;
    out.extend_from_slice(&length.to_be_bytes());
    for transaction in [first, next].into_iter().chain(going) {
        out.extend_from_slice(&transaction.to_be_bytes());
    }
    Ok(())
}

/// Keys and values, of which a value may be NULL.
pub(super) fn pairs(mut raw: &[u8]) -> Result<Vec<(String, Option<String>)>, Unfit> {
    let length = count(&mut raw)?;
    let mut all = Vec::with_capacity(length.min(raw.len() / 8));
    for _ in 0..length {
        let key = count(&mut raw)?;
        let key = super::wire::text(part(&mut raw, key)?)?;
        let value = match usize::try_from(i32::from_be_bytes(take(&mut raw)?)) {
            Ok(length) => Some(super::wire::text(part(&mut raw, length)?)?),
            Err(_) => None,
        };
        all.push((key, value));
    }
    at_end(raw, all)
}

pub(super) fn put_pairs(
    pairs: &[(String, Option<String>)],
    out: &mut BytesMut,
) -> Result<(), Unfit> {
    let length = |length: usize| {
        let length = i32::try_from(length).map_err(|_| Unfit::new("it is too long"))?;
        Ok::<_, Unfit>(length.to_be_bytes())
    };
    out.extend_from_slice(&length(pairs.len())?);
    for (key, value) in pairs {
        out.extend_from_slice(&length(key.len())?);
        out.extend_from_slice(key.as_bytes());
        match value {
            Some(value) => {
                out.extend_from_slice(&length(value.len())?);
                out.extend_from_slice(value.as_bytes());
            }
            None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }
    Ok(())
}
