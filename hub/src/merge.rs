//! The deep merge that makes a node's configuration.
//!
//! Layers, each over the former: defaults, network, builder, default secrets, builder's secrets. A
//! layer is applied as a JSON merge patch (RFC 7386), to the letter:
//! - an object is merged member by member, at every depth;
//! - anything else (text, number, boolean, array) replaces what was there: arrays are never joined;
//! - `null` removes the member, if there is one: no configuration contains a member that is `null`;
//! - a layer that isn't an object replaces everything below it.
//!
//! Values keep their types, and there are no paths or templates within keys: `a.b` is one key.
//!
//! I/O: none.

use serde_json::{Map, Value};

/// Applies layers in order, beginning with an empty object.
pub(crate) fn merge<'a>(layers: impl IntoIterator<Item = &'a Value>) -> Value {
    let mut merged = Value::Object(Map::new());
    for layer in layers {
        apply(&mut merged, layer);
    }
    merged
}

/// Applies one patch. Recursion is bounded by what the parser of the patch allows (128).
fn apply(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (key, value) in members {
        if value.is_null() {
            target.remove(key);
        } else {
            apply(target.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// The examples of RFC 7386, appendix A.
    #[test]
    fn the_standards_examples_hold() {
        let cases = [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (
                json!({"a":"b","b":"c"}),
                json!({"a":null}),
                json!({"b":"c"}),
            ),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (
                json!({}),
                json!({"a":{"bb":{"ccc":null}}}),
                json!({"a":{"bb":{}}}),
            ),
        ];
        for (mut target, patch, expected) in cases {
            apply(&mut target, &patch);
            assert_eq!(target, expected, "{patch}");
        }
    }

    #[test]
    fn values_keep_their_types_and_need_no_escaping() {
        let secrets =
            json!({"a": {"text": "quote \" backslash \\ line\n", "port": 1, "on": false}});
        let merged = merge([&json!({"a": {"port": "x", "kept": 1.5}}), &secrets]);
        assert_eq!(merged["a"]["text"], "quote \" backslash \\ line\n");
        assert_eq!(
            merged,
            json!({"a": {"text": "quote \" backslash \\ line\n", "port": 1, "on": false, "kept": 1.5}})
        );
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn has_null_member(value: &Value) -> bool {
        match value {
            Value::Object(members) => members.values().any(|v| v.is_null() || has_null_member(v)),
            // What is in an array is data.
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn the_result_has_no_null_members(layers in prop::collection::vec(document(), 0..4)) {
            prop_assert!(!has_null_member(&merge(&layers)));
        }

        #[test]
        fn a_layer_twice_is_the_layer_once(a in document(), b in document()) {
            prop_assert_eq!(merge([&a, &b, &b]), merge([&a, &b]));
        }

        #[test]
        fn what_the_last_layer_says_is_so(a in document(), b in document()) {
            fn says(patch: &Value, merged: &Value) -> bool {
                match patch {
                    Value::Object(members) => members.iter().all(|(key, value)| match value {
                        Value::Null => merged.get(key).is_none(),
                        value => merged.get(key).is_some_and(|merged| says(value, merged)),
                    }),
                    other => other == merged,
                }
            }
            prop_assert!(says(&b, &merge([&a, &b])));
        }

        #[test]
        fn an_empty_layer_changes_nothing(a in document()) {
            prop_assume!(a.is_object());
            prop_assert_eq!(merge([&a, &json!({})]), merge([&a]));
        }
    }
}
