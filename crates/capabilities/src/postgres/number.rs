//! Numbers: floats in the interface's three parts, and decimals as digits.

use bytes::BytesMut;

use super::wire::{Unfit, take};

/// Mantissa, exponent and sign: `sign * mantissa * 2^exponent`.
pub(super) type Parts = (u64, i16, i8);

/// Digits of a group of the server's decimals.
const GROUP: usize = 4;

/// The parts of a float of 64 bits. Infinite and NaN have the exponent that its bits have.
pub(super) fn parts(of: f64) -> Parts {
    let bits = of.to_bits();
    let exponent = (bits >> 52) & 0x7ff;
    let fraction = bits & 0xf_ffff_ffff_ffff;
    let mantissa = match exponent {
        0 => fraction << 1,
        _ => fraction | 1 << 52,
    };
    (
        mantissa,
        signed(exponent) - 1075,
        sign(of.is_sign_negative()),
    )
}

/// The parts of a float of 32 bits.
pub(super) fn parts32(of: f32) -> Parts {
    let bits = of.to_bits();
    let exponent = (bits >> 23) & 0xff;
    let fraction = bits & 0x7f_ffff;
    let mantissa = match exponent {
        0 => fraction << 1,
        _ => fraction | 1 << 23,
    };
    let exponent = signed(exponent.into()) - 150;
    (mantissa.into(), exponent, sign(of.is_sign_negative()))
}

fn signed(exponent: u64) -> i16 {
    i16::try_from(exponent).unwrap_or(i16::MAX)
}

fn sign(is_negative: bool) -> i8 {
    if is_negative { -1 } else { 1 }
}

/// The float that the parts of a float of 64 bits make.
pub(super) fn float((mantissa, exponent, sign): Parts) -> f64 {
    let size = match exponent {
        // What is no number keeps its bits.
        972 => f64::from_bits(0x7ff << 52 | mantissa & 0xf_ffff_ffff_ffff),
        // In two steps, because the power alone may be too small for a float.
        _ => {
            let exponent = i32::from(exponent);
            let half = exponent / 2;
            mantissa as f64 * 2_f64.powi(half) * 2_f64.powi(exponent - half)
        }
    };
    if sign < 0 { -size } else { size }
}

/// The float that the parts of a float of 32 bits make.
pub(super) fn float32((mantissa, exponent, sign): Parts) -> f64 {
    match exponent {
        105 if mantissa & 0x7f_ffff != 0 => f64::NAN.copysign(sign.into()),
        105 => f64::INFINITY.copysign(sign.into()),
        _ => float((mantissa, exponent, sign)),
    }
}

/// Bytes that a decimal has as digits, at most.
pub(super) fn length(mut raw: &[u8]) -> Result<usize, Unfit> {
    let mut next = || take(&mut raw).map(i16::from_be_bytes);
    let (_groups, weight, _sign, scale) = (next()?, next()?, next()?, next()?);
    let groups = usize::try_from(weight).unwrap_or(0) + 1;
    // With a sign and a point.
    Ok(groups * GROUP + usize::from(scale.unsigned_abs()) + 2)
}

/// A decimal as digits.
pub(super) fn digits(mut raw: &[u8]) -> Result<String, Unfit> {
    let mut next = || take(&mut raw).map(i16::from_be_bytes);
    let (groups, weight, sign, scale) = (next()?, next()?, next()? as u16, next()?);
    match sign {
        0xC000 => return Ok("NaN".into()),
        0xD000 => return Ok("Infinity".into()),
        0xF000 => return Ok("-Infinity".into()),
        _ => {}
    }
    let mut values = Vec::new();
    for _ in 0..groups {
        values.push(next()?);
    }
    // Group 0 stands just before the point.
    let group = |at: i32| {
        let index = usize::try_from(i32::from(weight) - at).ok();
        index
            .and_then(|index| values.get(index))
            .copied()
            .unwrap_or(0)
    };
    // Most groups of a large number are those that are not there.
    let put = |text: &mut String, at| match group(at) {
        0 => text.push_str("0000"),
        group => text.push_str(&format!("{group:04}")),
    };
    let mut text = String::new();
    for at in (0..=i32::from(weight.max(0))).rev() {
        put(&mut text, at);
    }
    let whole = text.trim_start_matches('0');
    let mut text = if whole.is_empty() {
        "0".to_owned()
    } else {
        whole.to_owned()
    };
    if scale > 0 {
        let scale = usize::from(scale.unsigned_abs());
        let mut fraction = String::new();
        let mut at = -1;
        while fraction.len() < scale {
            put(&mut fraction, at);
            at -= 1;
        }
        text = format!("{text}.{}", &fraction[..scale]);
    }
    Ok(if sign == 0x4000 {
        format!("-{text}")
    } else {
        text
    })
}

/// Writes a decimal, which is digits with a sign, a point and an exponent, as far as it has them.
pub(super) fn put_digits(text: &str, out: &mut BytesMut) -> Result<(), Unfit> {
    let refused = || Unfit::new("a decimal is digits, such as -12.50");
    let special = match text.to_ascii_lowercase().as_str() {
        "nan" => Some(0xC000_u16),
        "infinity" | "+infinity" | "inf" | "+inf" => Some(0xD000),
        "-infinity" | "-inf" => Some(0xF000),
        _ => None,
    };
    let mut put =
        |values: [i16; 4]| values.map(|value| out.extend_from_slice(&value.to_be_bytes()));
    if let Some(special) = special {
        put([0, 0, special as i16, 0]);
        return Ok(());
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().map_err(|_| refused())?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return Err(refused());
    }
    let too_long = || Unfit::new("the decimal has more digits than PostgreSQL takes");
    if whole.len() + fraction.len() > 147_455 || exponent.unsigned_abs() > 131_072 {
        return Err(too_long());
    }
    // The digits from the first to the last that is not 0, and where the point is from their start: an
    // exponent is short, and what it stands for is long.
    let digits = format!("{whole}{fraction}");
    let started = digits.trim_start_matches('0');
    let zeros = digits.len() - started.len();
    let point = whole.len() as i64 - zeros as i64 + i64::from(exponent);
    let scale = (fraction.len() as i64 - i64::from(exponent)).max(0);
    let started = started.trim_end_matches('0');
    // Groups of four to both sides of the point; the first has as many zeros before it as it needs.
    let group = GROUP as i64;
    let (weight, lead) = match started.is_empty() {
        true => (0, 0),
        false => ((point - 1).div_euclid(group), (-point).rem_euclid(group)),
    };
    let mut digits = "0".repeat(lead as usize) + started;
    while !digits.len().is_multiple_of(GROUP) {
        digits.push('0');
    }
    let groups = digits.as_bytes().chunks(GROUP).map(|group| {
        let digit = |sum: i16, byte: &u8| sum * 10 + i16::from(byte - b'0');
        group.iter().fold(0, digit)
    });
    let groups: Vec<i16> = groups.collect();
    let short = |value: i64| i16::try_from(value).map_err(|_| too_long());
    let sign = if negative && !groups.is_empty() {
        0x4000
    } else {
        0
    };
    put([
        short(groups.len() as i64)?,
        short(weight)?,
        sign,
        short(scale)?,
    ]);
    for group in groups {
        out.extend_from_slice(&group.to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_keep_their_value() {
        for value in [
            0.0,
            -0.0,
            1.0,
            -1.5,
            0.1,
            f64::MAX,
            f64::MIN_POSITIVE,
            f64::from_bits(1),
            f64::INFINITY,
            f64::NEG_INFINITY,
        ] {
            assert_eq!(float(parts(value)).to_bits(), value.to_bits(), "{value}");
        }
        assert!(float(parts(f64::NAN)).is_nan());
        for value in [
            0.0_f32,
            0.1,
            -2.5,
            f32::MAX,
            f32::from_bits(1),
            f32::INFINITY,
        ] {
            assert_eq!(float32(parts32(value)) as f32, value);
        }
        assert!(float32(parts32(f32::NAN)).is_nan());
        // As the crate `num` takes floats apart, which guests use.
        assert_eq!(parts(1.0), (1 << 52, -52, 1));
        assert_eq!(parts32(-2.0), (1 << 23, -22, -1));
        // From a guest, anything may come.
        assert_eq!(float((u64::MAX, i16::MAX, 1)), f64::INFINITY);
        assert_eq!(float((1, i16::MIN, 0)), 0.0);
    }

    #[test]
    fn decimals_keep_their_digits() {
        for (text, same) in [
            ("0", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("10000", "10000"),
            (
                "-12345678901234567890.00012300",
                "-12345678901234567890.00012300",
            ),
            ("0.5", "0.5"),
            (".5", "0.5"),
            ("5.", "5"),
            ("0.00001", "0.00001"),
            ("1e3", "1000"),
            ("12.5e-3", "0.0125"),
            ("1.50", "1.50"),
            ("0.000", "0.000"),
            ("0100.0", "100.0"),
            ("99990000", "99990000"),
            ("12340000.5", "12340000.5"),
            ("0.00012", "0.00012"),
            ("0.0000123", "0.0000123"),
            ("1e-5", "0.00001"),
            ("-123.4e4", "-1234000"),
            ("0e100", "0"),
            ("NaN", "NaN"),
            ("-Infinity", "-Infinity"),
        ] {
            let mut out = BytesMut::new();
            put_digits(text, &mut out).unwrap();
            assert_eq!(digits(&out).unwrap(), same, "{text}");
        }
        // Many such values, each of few bytes, go into one call.
        for (first, zeros) in [("1", 131_071), ("12", 16_000)] {
            let mut out = BytesMut::new();
            put_digits(&format!("{first}e{zeros}"), &mut out).unwrap();
            assert_eq!(out.len(), 10, "{zeros}");
            let whole = format!("{first}{}", "0".repeat(zeros));
            assert!(digits(&out).unwrap() == whole, "{zeros}");
            assert!(length(&out).unwrap() >= whole.len(), "{zeros}");
        }
        for text in [
            "",
            ".",
            "-",
            "1.2.3",
            "0x1",
            "1e",
            "e5",
            "--1",
            "1e999999",
            "1e-2147483648",
            "١",
        ] {
            let refused = put_digits(text, &mut BytesMut::new());
            assert!(refused.is_err(), "{text}");
        }
    }
}
