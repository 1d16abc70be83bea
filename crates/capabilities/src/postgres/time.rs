//! Dates and times: days and microseconds since the year 2000 on the wire, fields in the interface.

use super::{
    types::{Date, Offset, Time, TimeTz, Timestamp, TimestampTz},
    wire::{Unfit, take, whole},
};

/// Days from 1 January 1970 to 1 January 2000.
const EPOCH: i64 = 10_957;
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// The date of a number of days.
pub(super) fn date(raw: &[u8]) -> Result<Date, Unfit> {
    Ok(match i32::from_be_bytes(whole(raw)?) {
        i32::MAX => Date::PositiveInfinity,
        i32::MIN => Date::NegativeInfinity,
        days => Date::Ymd(civil(days.into())),
    })
}

/// The days of a date.
pub(super) fn days(date: &Date) -> Result<i32, Unfit> {
    match date {
        Date::PositiveInfinity => Ok(i32::MAX),
        Date::NegativeInfinity => Ok(i32::MIN),
        Date::Ymd(date) => i32::try_from(ordinal(*date)?).map_err(|_| no_date()),
    }
}

/// The time of a number of microseconds.
pub(super) fn time(raw: &[u8]) -> Result<Time, Unfit> {
    Ok(clock(i64::from_be_bytes(whole(raw)?)))
}

/// The microseconds of a time.
pub(super) fn micros(time: &Time) -> Result<i64, Unfit> {
    let Time {
        hour,
        min,
        sec,
        micro,
    } = *time;
    // The end of a day is 24:00:00, and a second may be a leap second.
    if hour > 24 || min > 59 || sec > 60 || micro > 999_999 {
        return Err(Unfit::new("there is no such time of day"));
    }
    let seconds = i64::from(hour) * 3600 + i64::from(min) * 60 + i64::from(sec);
    Ok(seconds * SECOND + i64::from(micro))
}

/// The time and zone of `timetz`.
pub(super) fn time_tz(mut raw: &[u8]) -> Result<TimeTz, Unfit> {
    let time = clock(i64::from_be_bytes(take(&mut raw)?));
    // Seconds west of UTC.
    let west = i32::from_be_bytes(whole(raw)?);
    let sign = if west > 0 { '-' } else { '+' };
    let size = west.unsigned_abs();
    let (hours, minutes, seconds) = (size / 3600, size / 60 % 60, size % 60);
    let mut timesonze = format!("{sign}{hours:02}:{minutes:02}");
    if seconds != 0 {
        timesonze += &format!(":{seconds:02}");
    }
    Ok(TimeTz { timesonze, time })
}

/// The microseconds and seconds west of UTC of `timetz`.
pub(super) fn zoned(time: &TimeTz) -> Result<(i64, i32), Unfit> {
    let refused = || Unfit::new("a time zone is a distance from UTC, such as +02:00");
    let zone = time.timesonze.as_str();
    let (sign, distance) = match zone.split_at_checked(1) {
        _ if zone == "Z" || zone == "UTC" => (-1, "0"),
        Some(("+", rest)) => (-1, rest),
        Some(("-", rest)) => (1, rest),
        _ => return Err(refused()),
    };
    let mut seconds = 0;
    let parts = distance.split(':').zip([3600, 60, 1]);
    if distance.split(':').count() > 3 {
        return Err(refused());
    }
    for (part, unit) in parts {
        let number: i32 = part.parse().map_err(|_| refused())?;
        if !(0..60).contains(&number) {
            return Err(refused());
        }
        seconds += number * unit;
    }
    Ok((micros(&time.time)?, sign * seconds))
}

/// The date and time of a number of microseconds.
pub(super) fn timestamp(raw: &[u8]) -> Result<Timestamp, Unfit> {
    let date = match i64::from_be_bytes(whole(raw)?) {
        i64::MAX => Date::PositiveInfinity,
        i64::MIN => Date::NegativeInfinity,
        micros => {
            return Ok(Timestamp {
                date: Date::Ymd(civil(micros.div_euclid(DAY))),
                time: clock(micros.rem_euclid(DAY)),
            });
        }
    };
    Ok(Timestamp {
        date,
        time: clock(0),
    })
}

/// The microseconds of a date and time.
pub(super) fn instant(timestamp: &Timestamp) -> Result<i64, Unfit> {
    let date = match &timestamp.date {
        Date::PositiveInfinity => return Ok(i64::MAX),
        Date::NegativeInfinity => return Ok(i64::MIN),
        Date::Ymd(date) => ordinal(*date)?,
    };
    let micros = micros(&timestamp.time)?;
    let sum = date
        .checked_mul(DAY)
        .and_then(|date| date.checked_add(micros));
    sum.ok_or_else(no_date)
}

/// The server keeps instants in UTC.
pub(super) fn timestamp_tz(raw: &[u8]) -> Result<TimestampTz, Unfit> {
    Ok(TimestampTz {
        timestamp: timestamp(raw)?,
        offset: Offset::EasternHemisphereSecs(0),
    })
}

/// The microseconds in UTC.
pub(super) fn universal(time: &TimestampTz) -> Result<i64, Unfit> {
    let local = instant(&time.timestamp)?;
    if local == i64::MAX || local == i64::MIN {
        return Ok(local);
    }
    let east = match time.offset {
        Offset::EasternHemisphereSecs(seconds) => i64::from(seconds),
        Offset::WesternHemisphereSecs(seconds) => -i64::from(seconds),
    };
    local.checked_sub(east * SECOND).ok_or_else(no_date)
}

fn no_date() -> Unfit {
    Unfit::new("there is no such date")
}

fn clock(micros: i64) -> Time {
    let part = |of: i64| u32::try_from(of).unwrap_or(0);
    let seconds = micros / SECOND;
    Time {
        hour: part(seconds / 3600),
        min: part(seconds / 60 % 60),
        sec: part(seconds % 60),
        micro: part(micros % SECOND),
    }
}

/// Year, month and day of a number of days since 2000, in the Gregorian calendar without end. Years
/// are counted from March within cycles of 400, so that a leap day is the last of its year.
fn civil(days: i64) -> (i32, u32, u32) {
    let days = days + EPOCH + 719_468;
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + cycle * 400 + i64::from(month <= 2);
    let part = |of: i64| u32::try_from(of).unwrap_or(0);
    (
        i32::try_from(year).unwrap_or(i32::MAX),
        part(month),
        part(of_month),
    )
}

/// The number of days since 2000 of a date that there is.
fn ordinal(date: (i32, u32, u32)) -> Result<i64, Unfit> {
    let (year, month, day) = (i64::from(date.0), i64::from(date.1), i64::from(date.2));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(no_date());
    }
    let year = year - i64::from(month <= 2);
    let (cycle, of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let day = (153 * month + 2) / 5 + day - 1;
    let day = of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + day;
    let days = cycle * 146_097 + day - 719_468 - EPOCH;
    // The 30th of February is another date.
    if civil(days) == date {
        Ok(days)
    } else {
        Err(no_date())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, date) in [
            (0, (2000, 1, 1)),
            (59, (2000, 2, 29)),
            (-1, (1999, 12, 31)),
            (9456, (2025, 11, 21)),
            (-730_120, (0, 12, 31)),
            (-730_485, (0, 1, 1)),
        ] {
            assert_eq!(civil(days), date);
            assert_eq!(ordinal(date), Ok(days));
        }
        for date in [
            (2023, 2, 29),
            (2023, 13, 1),
            (2023, 0, 1),
            (2023, 4, 31),
            (1, 1, 0),
        ] {
            assert!(ordinal(date).is_err(), "{date:?}");
        }
        assert!(days(&Date::Ymd((i32::MAX, 1, 1))).is_err());
    }

    #[test]
    fn times_without_a_day_are_refused() {
        let time = |hour, min, sec, micro| Time {
            hour,
            min,
            sec,
            micro,
        };
        assert_eq!(micros(&time(24, 0, 0, 0)), Ok(DAY));
        for wrong in [
            time(25, 0, 0, 0),
            time(0, 60, 0, 0),
            time(0, 0, 0, 1_000_000),
        ] {
            assert!(micros(&wrong).is_err());
        }
        let zone = |timesonze: &str| {
            let zoned = zoned(&TimeTz {
                timesonze: timesonze.into(),
                time: time(0, 0, 0, 0),
            });
            zoned.map(|(_, west)| west)
        };
        assert_eq!(zone("+02:00"), Ok(-7200));
        assert_eq!(zone("-05:30:15"), Ok(19_815));
        assert_eq!(zone("Z"), Ok(0));
        for wrong in ["", "02:00", "+", "+99", "+1:2:3:4", "Europe/Berlin"] {
            assert!(zone(wrong).is_err(), "{wrong}");
        }
    }
}
