use super::*;

/// Returns a section as the specification frames it.
fn section(id: u8, payload: &[u8]) -> Vec<u8> {
    [&[id][..], &leb128(payload.len()), payload].concat()
}

fn custom(name: &str, content: &[u8]) -> Vec<u8> {
    section(
        CUSTOM_SECTION,
        &[&leb128(name.len())[..], name.as_bytes(), content].concat(),
    )
}

fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    [HEADER, &sections.concat()].concat()
}

#[test]
fn keeps_code_and_private_metadata_and_replaces_the_rest() {
    let types = section(1, &[1, 0x60, 0, 0]);
    let code = section(10, &[0xab; 300]);
    let input = module(&[
        custom("name", b"x"),
        types.clone(),
        custom("icp:public candid:service", b"stale"),
        custom("icp:private motoko:stable-types", b"kept"),
        code.clone(),
        custom("producers", &[7; 200]),
    ]);
    let expected = module(&[
        types,
        custom("icp:private motoko:stable-types", b"kept"),
        code,
        custom("icp:public candid:service", b"service : {}"),
    ]);
    assert_eq!(
        with_metadata(&input, &[("candid:service", b"service : {}")]).unwrap(),
        expected
    );
}

fn export(name: &str, kind: u8, index: u8) -> Vec<u8> {
    [&leb128(name.len())[..], name.as_bytes(), &[kind, index]].concat()
}

#[test]
fn drops_exported_functions_that_are_no_entry_points() {
    let exports = |entries: &[Vec<u8>]| {
        section(
            EXPORT_SECTION,
            &[leb128(entries.len()), entries.concat()].concat(),
        )
    };
    let code = section(10, &[1; 130]);
    let update = export("canister_update push_blocks", FUNCTION_EXPORT, 3);
    let memory = export("memory", 2, 0);
    let secp = export("rustsecp256k1_v0_10_0_context_create", FUNCTION_EXPORT, 9);
    let main = export("main", FUNCTION_EXPORT, 1);
    let input = module(&[
        exports(&[memory.clone(), main, update.clone(), secp]),
        code.clone(),
    ]);
    let expected = module(&[exports(&[memory, update]), code]);
    assert_eq!(without_foreign_exports(&input).unwrap(), expected);
}

#[test]
fn refuses_a_damaged_export_section() {
    for payload in [&[1][..], &[1, 3, b'a'], &[1, 1, b'a', 0], &[0, 7]] {
        let error =
            without_foreign_exports(&module(&[section(EXPORT_SECTION, payload)])).unwrap_err();
        assert!(
            error.to_string().contains("export section"),
            "{payload:?}: {error}"
        );
    }
}

#[test]
fn is_idempotent() {
    let public: &[(&str, &[u8])] = &[("candid:service", &[b'a'; 5000])];
    let once = with_metadata(&module(&[section(1, &[0])]), public).unwrap();
    assert_eq!(with_metadata(&once, public).unwrap(), once);
}

#[test]
fn refuses_what_is_not_a_whole_module() {
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("nothing", vec![], "not a Wasm version 1 binary"),
        (
            "an archive",
            b"\x1f\x8b\x08\0\0\0\0\0\0".to_vec(),
            "not a Wasm version 1 binary",
        ),
        (
            "a component",
            b"\0asm\x0d\0\x01\0".to_vec(),
            "not a Wasm version 1 binary",
        ),
        (
            "a section cut short",
            [HEADER, &[1, 5, 0]].concat(),
            "section 1 at byte 8",
        ),
        (
            "an endless length",
            [HEADER, &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat(),
            "section 1 at byte 8",
        ),
        (
            "a name longer than its section",
            [HEADER, &[0, 2, 9, b'x']].concat(),
            "section 0 at byte 8",
        ),
    ];
    for (what, bytes, expected) in cases {
        let error = with_metadata(&bytes, &[]).expect_err(what);
        assert!(error.to_string().contains(expected), "{what}: {error}");
    }
}
