//! Addresses as people write them. The vectors are those of TEP-2 and of other implementations.

use proptest::prelude::*;

use super::*;

const RAW: &str = "0:e4d954ef9f4e1250a26b5bbad76a1cdd17cfd08babad6f4c23e372270aef6f76";
const BOUNCING: &str = "EQDk2VTvn04SUKJrW7rXahzdF8_Qi6utb0wj43InCu9vdjrR";

fn check(text: &str, network: Network, wanted: Result<Option<bool>, BadAddress>) {
    let read = Address::parse(text, network);
    assert_eq!(read.clone().map(|written| written.bounceable), wanted, "{text}");
    if let Ok(written) = read {
        assert_eq!(written.address.to_string(), RAW, "{text}");
    }
}

#[test]
fn every_form_of_an_address_is_read() {
    use Network::{Mainnet, Testnet};
    let address: Address = RAW.parse().expect("an address");
    let staying = address.friendly(false, Mainnet);
    assert_eq!(address.friendly(true, Mainnet), BOUNCING);
    assert!(staying.starts_with("UQ"));
    check(RAW, Mainnet, Ok(None));
    check(&RAW.to_uppercase(), Mainnet, Ok(None));
    check(&format!("  {BOUNCING}\n"), Mainnet, Ok(Some(true)));
    check(
        "EQDk2VTvn04SUKJrW7rXahzdF8/Qi6utb0wj43InCu9vdjrR",
        Mainnet,
        Ok(Some(true)),
    );
    check(&staying, Mainnet, Ok(Some(false)));
    check(&address.friendly(true, Testnet), Testnet, Ok(Some(true)));
    // A mainnet form on the testnet harms nobody.
    check(BOUNCING, Testnet, Ok(Some(true)));
}

#[test]
fn an_address_that_should_not_be_paid_says_why() {
    use Network::Mainnet;
    let address: Address = RAW.parse().expect("an address");
    check(
        &address.friendly(false, Network::Testnet),
        Mainnet,
        Err(BadAddress::Testnet),
    );
    check(&BOUNCING.replace("vdjrR", "vdjra"), Mainnet, Err(BadAddress::Checksum));
    check(&BOUNCING.replace('D', "E"), Mainnet, Err(BadAddress::Checksum));
    check(&RAW.replace("0:", "-1:"), Mainnet, Err(BadAddress::Workchain(-1)));
    check(&RAW.replace("0:", "1:"), Mainnet, Err(BadAddress::Workchain(1)));
    check(
        "EQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM9c",
        Mainnet,
        Err(BadAddress::Zero),
    );
    let elector = Address {
        workchain: MASTERCHAIN,
        ..address
    };
    check(
        &elector.friendly(true, Mainnet),
        Mainnet,
        Err(BadAddress::Workchain(-1)),
    );
    for malformed in [
        "",
        ":",
        "0:",
        "0:12",
        "00:",
        "UQ",
        &RAW[1..],
        &RAW[..65],
        &format!("{RAW}0"),
        "é",
    ] {
        check(malformed, Mainnet, Err(BadAddress::Malformed));
    }
    for workchain in ["+0", "00", "300", "-0", "x"] {
        check(&RAW.replacen('0', workchain, 1), Mainnet, Err(BadAddress::Malformed));
    }
    // 48 characters that are no base64, among them such as are longer than one byte.
    for malformed in ["=".repeat(48), "é".repeat(24), "*".repeat(48)] {
        check(&malformed, Mainnet, Err(BadAddress::Malformed));
    }
}

#[test]
fn unknown_flags_are_refused() {
    let mut bytes = URL_SAFE.decode(BOUNCING).expect("base64");
    bytes[0] = 0x31;
    let checksum = crc_16(&bytes[..34]);
    bytes[34..].copy_from_slice(&checksum.to_be_bytes());
    check(&URL_SAFE.encode(bytes), Network::Mainnet, Err(BadAddress::Flags));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(id: [u8; 32], bounceable: bool, test: bool) {
        prop_assume!(id != [0; 32]);
        let network = if test { Network::Testnet } else { Network::Mainnet };
        let address = Address::basechain(id);
        let read = Address::parse(&address.friendly(bounceable, network), network);
        prop_assert_eq!(read, Ok(WrittenAddress { address, bounceable: Some(bounceable) }));
        prop_assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[test]
    fn one_wrong_character_is_noticed(id: [u8; 32], at in 0_usize..48, with in "[A-Za-z0-9_-]") {
        let address = Address::basechain(id);
        let mut text = address.friendly(true, Network::Mainnet);
        text.replace_range(at..=at, &with);
        let read = Address::parse(&text, Network::Mainnet);
        prop_assert!(read.is_err() || read.is_ok_and(|read| read.address == address));
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,80}") {
        let _ = Address::parse(&text, Network::Mainnet);
        let _ = text.parse::<Address>();
    }
}
