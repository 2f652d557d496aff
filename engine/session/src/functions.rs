//! The functions of the catalogue as calls of Rust, by their names in SQL; what each does is said in the
//! [list of functions](https://spark.apache.org/docs/latest/api/sql/), and `millstream functions` shows all.
//!
//! Arguments are columns: a text is the name of one, a constant of a text is [`lit`]. A function that stands
//! here with fewer arguments than it can take is called with others by [`call_function`].

use millstream_sql::Column;
pub use millstream_sql::column::{
    Literal, call_function, col, count_all, expr, lambda, lambda2, lambda3, lit, when,
};

/// Tumbling windows over a timestamp: a struct of `start` and `end`, as column `window`.
#[must_use]
pub fn window(time: impl Into<Column>, duration: &str) -> Column {
    call_function("window", [time.into(), lit(duration)]).alias("window")
}

/// Sliding windows over a timestamp: every `slide` one of length `duration` begins.
#[must_use]
pub fn sliding_window(time: impl Into<Column>, duration: &str, slide: &str) -> Column {
    call_function("window", [time.into(), lit(duration), lit(slide)]).alias("window")
}

/// Sessions over a timestamp: rows of a group that lie closer than `gap`.
#[must_use]
pub fn session_window(time: impl Into<Column>, gap: impl Into<Column>) -> Column {
    call_function("session_window", [time.into(), gap.into()]).alias("session_window")
}

/// Windows of so many rows of a key, in the order of the input, as column `count_window`.
#[must_use]
pub fn count_window(rows: i32) -> Column {
    call_function("count_window", [lit(rows)]).alias("count_window")
}

/// `struct(columns)`: one column with these as its fields.
#[must_use]
pub fn struct_of<C: Into<Column>>(columns: impl IntoIterator<Item = C>) -> Column {
    call_function("struct", columns)
}

/// `if(condition, value, other)`.
#[must_use]
pub fn if_else(
    condition: impl Into<Column>,
    value: impl Into<Column>,
    other: impl Into<Column>,
) -> Column {
    when(condition, value).otherwise(other)
}

/// `count(DISTINCT column)`.
#[must_use]
pub fn count_distinct(column: impl Into<Column>) -> Column {
    count(column).distinct()
}

macro_rules! without_arguments {
    ($($name:ident,)*) => {
        $(#[doc = concat!("`", stringify!($name), "()` of SQL.")]
        #[must_use]
        pub fn $name() -> Column {
            call_function::<Column>(stringify!($name), [])
        })*

        #[cfg(test)]
        const NO_ARGUMENTS: &[&str] = &[$(stringify!($name)),*];
    };
}

macro_rules! of_one_column {
    ($($name:ident,)*) => {
        $(#[doc = concat!("`", stringify!($name), "(column)` of SQL.")]
        #[must_use]
        pub fn $name(column: impl Into<Column>) -> Column {
            call_function(stringify!($name), [column.into()])
        })*

        #[cfg(test)]
        const ONE_COLUMN: &[&str] = &[$(stringify!($name)),*];
    };
}

macro_rules! of_columns {
    ($($name:ident($($argument:ident),*);)*) => {
        $(#[doc = concat!("`", stringify!($name), "(", stringify!($($argument),*), ")` of SQL.")]
        #[must_use]
        pub fn $name($($argument: impl Into<Column>),*) -> Column {
            call_function(stringify!($name), [$($argument.into()),*])
        })*

        #[cfg(test)]
        const COLUMNS: &[&str] = &[$(stringify!($name)),*];
    };
}

macro_rules! of_any_number {
    ($($name:ident,)*) => {
        $(#[doc = concat!("`", stringify!($name), "(columns)` of SQL.")]
        #[must_use]
        pub fn $name<C: Into<Column>>(columns: impl IntoIterator<Item = C>) -> Column {
            call_function(stringify!($name), columns)
        })*

        #[cfg(test)]
        const ANY_NUMBER: &[&str] = &[$(stringify!($name)),*];
    };
}

without_arguments! {
    current_date, current_timestamp, current_timezone, localtimestamp, now, pi, e, rand, randn,
    uuid,
}

of_one_column! {
    abs, acos, acosh, asin, asinh, atan, atanh, cbrt, ceil, cos, cosh, cot, csc, degrees, exp,
    expm1, factorial, floor, ln, log10, log1p, log2, negative, positive, radians, rint, sec, sign,
    signum, sin, sinh, sqrt, tan, tanh, bin, hex, unhex, ascii, base64, unbase64, bit_count,
    bit_length, bitwise_not, char_length, chr, crc32, initcap, lcase, length, lower, ltrim, md5,
    octet_length, rtrim, sha1, soundex, space, trim, ucase, upper, reverse, url_encode, url_decode,
    try_url_decode, isnan, is_valid_utf8, luhn_check, isnull, isnotnull, nullifzero, zeroifnull,
    year, quarter, month, weekofyear, day, dayofmonth, dayofweek, dayofyear, weekday, hour,
    minute, second, last_day, unix_date, unix_micros, unix_millis, unix_seconds,
    date_from_unix_date, timestamp_micros, timestamp_millis, timestamp_seconds, dayname, monthname,
    window_time, array_compact, array_distinct, array_max, array_min, array_size, cardinality,
    flatten, map_entries, map_from_entries, map_keys, map_values, size, explode, explode_outer,
    posexplode, posexplode_outer, inline, inline_outer, shuffle, json_array_length,
    json_object_keys, schema_of_json, to_json, any_value, approx_count_distinct, avg, bit_and,
    bit_or, bit_xor, bool_and, bool_or, collect_list, collect_set, count, count_if, every, first,
    kurtosis, last, max, mean, median, min, mode, skewness, some, std, stddev, stddev_pop,
    stddev_samp, sum, try_avg, try_sum, var_pop, var_samp, variance, grouping,
}

of_columns! {
    atan2(y, x);
    hypot(a, b);
    pow(base, exponent);
    pmod(a, b);
    log(base, value);
    round(value, digits);
    bround(value, digits);
    shiftleft(value, bits);
    shiftright(value, bits);
    shiftrightunsigned(value, bits);
    getbit(value, bit);
    find_in_set(text, list);
    instr(text, part);
    levenshtein(a, b);
    repeat(text, times);
    left(text, length);
    right(text, length);
    split(text, pattern);
    decode(bytes, charset);
    encode(text, charset);
    sha2(bytes, bits);
    format_number(number, digits);
    regexp_count(text, pattern);
    regexp_like(text, pattern);
    regexp_substr(text, pattern);
    startswith(text, start);
    endswith(text, end);
    contains(text, part);
    ifnull(value, other);
    nullif(a, b);
    nvl(value, other);
    equal_null(a, b);
    nanvl(value, other);
    div(a, b);
    add_months(date, months);
    date_add(date, days);
    date_sub(date, days);
    datediff(end, start);
    date_format(time, format);
    date_trunc(unit, time);
    trunc(date, unit);
    next_day(date, weekday);
    months_between(later, earlier);
    from_unixtime(seconds, format);
    from_utc_timestamp(time, zone);
    to_utc_timestamp(time, zone);
    to_date(text, format);
    to_timestamp(text, format);
    unix_timestamp(text, format);
    try_to_timestamp(text, format);
    array_append(list, value);
    array_prepend(list, value);
    array_contains(list, value);
    array_except(a, b);
    array_intersect(a, b);
    array_union(a, b);
    array_join(list, separator);
    array_position(list, value);
    array_remove(list, value);
    array_repeat(value, times);
    arrays_overlap(a, b);
    element_at(list, at);
    try_element_at(list, at);
    get(list, at);
    sort_array(list, ascending);
    map_contains_key(map, key);
    map_from_arrays(keys, values);
    get_json_object(text, path);
    from_json(text, schema);
    from_csv(text, schema);
    transform(list, function);
    filter(list, function);
    exists(list, function);
    forall(list, function);
    map_filter(map, function);
    transform_keys(map, function);
    transform_values(map, function);
    corr(y, x);
    covar_pop(y, x);
    covar_samp(y, x);
    max_by(value, by);
    min_by(value, by);
    percentile(value, share);
    percentile_approx(value, share);
    histogram_numeric(value, bins);
    listagg(text, separator);
    string_agg(text, separator);
    regr_avgx(y, x);
    regr_avgy(y, x);
    regr_count(y, x);
    regr_intercept(y, x);
    regr_r2(y, x);
    regr_slope(y, x);
    regr_sxx(y, x);
    regr_sxy(y, x);
    regr_syy(y, x);
    try_add(a, b);
    try_divide(a, b);
    try_mod(a, b);
    try_multiply(a, b);
    try_subtract(a, b);
    conv(number, from, to);
    lpad(text, length, pad);
    rpad(text, length, pad);
    nvl2(value, some, none);
    overlay(text, other, position);
    regexp_extract(text, pattern, group);
    regexp_extract_all(text, pattern, group);
    regexp_replace(text, pattern, other);
    replace(text, part, other);
    split_part(text, separator, part);
    substring(text, position, length);
    substring_index(text, separator, count);
    translate(text, from, to);
    locate(part, text, position);
    make_date(year, month, day);
    slice(list, start, length);
    sequence(first, last, step);
    array_insert(list, at, value);
    aggregate(list, start, function);
    reduce(list, start, function);
    zip_with(a, b, function);
    map_zip_with(a, b, function);
    str_to_map(text, pairs, keys);
    mask(text, upper, lower);
}

of_any_number! {
    array, coalesce, concat, concat_ws, elt, greatest, hash, least, map, map_concat, named_struct,
    arrays_zip, stack, xxhash64, format_string, json_tuple, grouping_id, make_timestamp, parse_url,
}

/// `typeof(column)` of SQL.
#[must_use]
pub fn type_of(column: impl Into<Column>) -> Column {
    call_function("typeof", [column.into()])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_a_function() {
        let known = millstream_sql::functions::list();
        let known: BTreeSet<&str> = known
            .iter()
            .map(|function| function.name.as_str())
            .collect();
        let names = [NO_ARGUMENTS, ONE_COLUMN, COLUMNS, ANY_NUMBER].concat();
        let unknown: Vec<&str> = names
            .into_iter()
            .filter(|name| !known.contains(name))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
