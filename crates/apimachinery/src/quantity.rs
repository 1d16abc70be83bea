//! Resource quantities in their canonical form: `1048576Ki` is `1Gi`, `0.5` is `500m`.

/// The canonical form, or the text itself where it isn't a quantity.
pub fn canonical_or_same(text: &str) -> String {
    canonical(text).unwrap_or_else(|| text.to_owned())
}

/// The canonical form; `None` where the text isn't a quantity.
pub fn canonical(text: &str) -> Option<String> {
    let quantity = Quantity::parse(text)?;
    Some(quantity.to_string())
}

/// What is wrong with a text as a quantity, in the real server's words.
pub(crate) fn parse_error(text: &str) -> Option<String> {
    if Quantity::parse(text).is_some() {
        return None;
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let suffix = unsigned.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let digits = &unsigned[..unsigned.len() - suffix.len()];
    let power = suffix.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
    let power = power.strip_prefix(['+', '-']).unwrap_or(power);
    let well_formed = !text.is_empty() && power.bytes().all(|byte| byte.is_ascii_digit());
    let why = match (
        well_formed,
        digits.is_empty() || digits.matches('.').count() > 1,
    ) {
        (false, _) => {
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        }
        (true, true) => "unable to parse numeric part of quantity",
        (true, false) => "unable to parse quantity's suffix",
    };
    Some(why.to_owned())
}

/// Which of two quantities is more; nothing where one isn't a quantity or is too large to tell.
pub(crate) fn compare(left: &str, right: &str) -> Option<std::cmp::Ordering> {
    let (left, right) = (Quantity::parse(left)?, Quantity::parse(right)?);
    let exponent = left.exponent.min(right.exponent);
    let scaled = |quantity: &Quantity| {
        let power = u32::try_from(quantity.exponent - exponent).ok()?;
        quantity.mantissa.checked_mul(10_i128.checked_pow(power)?)
    };
    Some(scaled(&left)?.cmp(&scaled(&right)?))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Binary,
    Decimal,
    Exponent,
}

/// `mantissa × 10^exponent`, exactly; how it was written decides how it is printed.
struct Quantity {
    mantissa: i128,
    exponent: i32,
    form: Form,
}

const BINARY: [(&str, u32); 6] = [
    ("Ki", 10),
    ("Mi", 20),
    ("Gi", 30),
    ("Ti", 40),
    ("Pi", 50),
    ("Ei", 60),
];
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];

impl Quantity {
    fn parse(text: &str) -> Option<Self> {
        let number_end = text
            .char_indices()
            .find(|(index, c)| {
                !(c.is_ascii_digit() || *c == '.' || (*index == 0 && matches!(c, '+' | '-')))
            })
            .map_or(text.len(), |(index, _)| index);
        let (number, suffix) = text.split_at(number_end);
        let digits = number.trim_start_matches(['+', '-']);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 30
        {
            return None;
        }
        let mut mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
        if number.starts_with('-') {
            mantissa = -mantissa;
        }
        let exponent = -i32::try_from(fraction.len()).ok()?;
        if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
            let mantissa = mantissa.checked_mul(1_i128 << shift)?;
            return Some(Self {
                mantissa,
                exponent,
                form: Form::Binary,
            });
        }
        if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
            return Some(Self {
                mantissa,
                exponent: exponent + power,
                form: Form::Decimal,
            });
        }
        let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
        if power.abs() > 40 {
            return None;
        }
        Some(Self {
            mantissa,
            exponent: exponent + power,
            form: Form::Exponent,
        })
    }

    /// The value as a whole number, if it is one.
    fn whole(&self) -> Option<i128> {
        let power = 10_i128.checked_pow(self.exponent.unsigned_abs())?;
        if self.exponent >= 0 {
            self.mantissa.checked_mul(power)
        } else {
            (self.mantissa % power == 0).then_some(self.mantissa / power)
        }
    }
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.mantissa == 0 {
            return formatter.write_str("0");
        }
        if self.form == Form::Binary
            && let Some(whole) = self.whole()
            && whole.abs() >= 1024
        {
            let mut best = (whole, "");
            for (suffix, shift) in BINARY {
                if whole % (1_i128 << shift) == 0 {
                    best = (whole >> shift, suffix);
                }
            }
            return write!(formatter, "{}{}", best.0, best.1);
        }
        let (mut mantissa, mut exponent) = (self.mantissa, self.exponent);
        while mantissa % 10 == 0 {
            mantissa /= 10;
            exponent += 1;
        }
        // Exponents step by three, as the suffixes do; nothing is finer than a billionth.
        while exponent.rem_euclid(3) != 0 || exponent > 18 {
            mantissa = mantissa.saturating_mul(10);
            exponent -= 1;
        }
        while exponent < -9 {
            let rest = mantissa % 1000;
            mantissa = mantissa / 1000 + rest.signum();
            exponent += 3;
        }
        if self.form == Form::Exponent && exponent != 0 {
            return write!(formatter, "{mantissa}e{exponent}");
        }
        let suffix = DECIMAL
            .iter()
            .find(|(_, power)| *power == exponent)
            .map_or("", |(name, _)| name);
        write!(formatter, "{mantissa}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_take_the_canonical_form() {
        let cases = [
            ("1048576Ki", "1Gi"),
            ("1Gi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("100", "100"),
            ("100m", "100m"),
            ("0.1", "100m"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("0", "0"),
            ("0Ki", "0"),
            ("-1", "-1"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("1000k", "1M"),
            ("1001", "1001"),
        ];
        for (text, expected) in cases {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "a", "1x", ".", "1.2.3", "Ki", "--1", "1 Gi"] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }
}
