use super::*;

fn round_trip(values: &[Value]) {
    assert_eq!(read_all(&write(values)).as_deref(), Ok(values));
}

#[test]
fn what_was_written_is_read() {
    round_trip(&[
        Value::Number(-0.5),
        Value::Boolean(true),
        Value::Boolean(false),
        "naïve".into(),
        "".into(),
        Value::Null,
        Value::Undefined,
        Value::Date(1.7e12),
        object([("b", 1.0.into()), ("a", object([("", Value::Null)]))]),
        Value::Ecma(vec![("duration".to_owned(), 0.0.into())]),
        Value::Array(vec!["hvc1".into(), Value::Array(Vec::new())]),
    ]);
    round_trip(&["x".repeat(usize::from(u16::MAX)).as_str().into()]);
    round_trip(&["x".repeat(MAX_STRING).as_str().into()]);
    round_trip(&[]);
}

#[test]
fn properties_keep_their_order() {
    let names = ["level", "code", "description", "fmsVer", "capabilities", "mode"];
    let value = Value::Object(names.iter().map(|name| ((*name).to_owned(), Value::Null)).collect());
    let bytes = write(&[value]);
    let positions: Vec<_> = names
        .iter()
        .map(|name| bytes.windows(name.len()).position(|window| window == name.as_bytes()))
        .collect();
    assert!(positions.is_sorted());
}

#[test]
fn markers_that_encoders_seldom_send_are_read() {
    assert_eq!(read_all(b"\x0c\0\0\0\x03abc"), Ok(vec!["abc".into()]));
    assert_eq!(read_all(b"\x0f\0\0\0\x02<>"), Ok(vec!["<>".into()]));
    assert_eq!(read_all(b"\x0b\0\0\0\0\0\0\0\0\0\0"), Ok(vec![Value::Date(0.0)]));
    assert_eq!(read_all(b"\x07\0\0"), Ok(vec![Value::Undefined]));
    assert_eq!(read_all(b"\x0d"), Ok(vec![Value::Undefined]));
    assert_eq!(
        read_all(b"\x10\0\x01T\0\x01a\x05\0\0\x09"),
        Ok(vec![object([("a", Value::Null)])])
    );
    assert_eq!(
        read_all(b"\x08\xff\xff\xff\xff\0\x01a\x05\0\0\x09"),
        Ok(vec![Value::Ecma(vec![("a".to_owned(), Value::Null)])])
    );
}

#[test]
fn nesting_ends_at_its_bound_for_every_container() {
    for opening in [
        &b"\x03\0\x01a"[..],
        b"\x08\0\0\0\0\0\x01a",
        b"\x0a\0\0\0\x01",
        b"\x10\0\0\0\x01a",
    ] {
        assert_eq!(read_all(&opening.repeat(16_000)), Err(Error::AmfDepth));
        assert_eq!(read_all(&opening.repeat(MAX_DEPTH)), Err(Error::AmfTruncated));
    }
    let mut deep = Value::Null;
    for _ in 0..MAX_DEPTH {
        deep = Value::Array(vec![deep]);
    }
    round_trip(&[deep.clone()]);
    assert_eq!(read_all(&write(&[Value::Array(vec![deep])])), Err(Error::AmfDepth));
}

#[test]
fn the_number_of_values_is_bounded() {
    assert_eq!(read_all(&vec![5; 16_000_000]), Err(Error::AmfValues));
    assert_eq!(read_all(&[5; MAX_VALUES]).map(|values| values.len()), Ok(MAX_VALUES));
    assert_eq!(read_all(b"\x0a\xff\xff\xff\xff"), Err(Error::AmfTruncated));
    let mut many = vec![10, 0xff, 0xff, 0xff, 0xff];
    many.extend([5; 2 * MAX_VALUES]);
    assert_eq!(read_all(&many), Err(Error::AmfValues));
}

#[test]
fn strings_are_bounded() {
    assert_eq!(read_all(b"\x0c\xff\xff\xff\xffabc"), Err(Error::AmfString));
    assert_eq!(read_all(b"\x02\xff\xffabc"), Err(Error::AmfTruncated));
    assert_eq!(read_all(b"\x02\0\x01\xff"), Ok(vec!["\u{fffd}".into()]));
    let long = "ü".repeat(MAX_STRING);
    let written = write(&[long.as_str().into()]);
    assert_eq!(
        read_all(&written).map(|values| values[0].as_str().unwrap().len()),
        Ok(MAX_STRING)
    );
}

#[test]
fn amf3_and_unknown_markers_are_refused_by_name() {
    assert_eq!(read_all(b"\x11\x0a\x0b"), Err(Error::Amf3));
    for marker in [4, 9, 14, 18, 255] {
        assert_eq!(read_all(&[marker]), Err(Error::AmfMarker(marker)));
    }
}

#[test]
fn a_value_cut_off_anywhere_is_an_error() {
    let whole = write(&[object([
        ("a", 1.0.into()),
        ("b", Value::Array(vec!["x".into(), Value::Date(1.0)])),
        ("c", Value::Ecma(vec![("d".to_owned(), Value::Boolean(true))])),
    ])]);
    for end in 1..whole.len() {
        assert_eq!(read_all(&whole[..end]), Err(Error::AmfTruncated), "at {end}");
    }
}

#[test]
fn properties_are_found_by_name() {
    let value = object([("a", 1.0.into()), ("b", "x".into())]);
    assert_eq!(value.property("a").and_then(Value::as_f64), Some(1.0));
    assert_eq!(value.property("b").and_then(Value::as_str), Some("x"));
    assert_eq!(value.property("c"), None);
    assert_eq!(Value::Null.property("a"), None);
}
