//! Outputs of every kind, and how those that can be spent are spent.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::key::{CompressedPublicKey, UntweakedPublicKey};
use bitcoin::opcodes::all::{OP_PUSHNUM_1, OP_RETURN};
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::secp256k1::{All, Message, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::taproot::{LeafVersion, TaprootBuilder, TaprootSpendInfo};
use bitcoin::{
    Amount, OutPoint, PublicKey, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, ecdsa,
    transaction,
};

/// What locks an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lock {
    Nothing,
    True,
    PublicKey,
    PublicKeyHash,
    ScriptHash,
    WitnessKeyHash,
    WitnessScriptHash,
    NestedWitness,
    Taproot,
    /// Trues, so many: a script that is no standard form.
    Long(u16),
    /// Made and never spent.
    UncompressedKey,
    Multisig,
    FutureWitness,
    /// Unspendable: never a coin.
    Return,
    TooLong,
}

impl Lock {
    pub const ALL: [Self; 18] = [
        Self::Nothing,
        Self::True,
        Self::PublicKey,
        Self::PublicKeyHash,
        Self::ScriptHash,
        Self::WitnessKeyHash,
        Self::WitnessScriptHash,
        Self::NestedWitness,
        Self::Taproot,
        Self::Long(129),
        Self::Long(252),
        Self::Long(253),
        Self::Long(900),
        Self::UncompressedKey,
        Self::Multisig,
        Self::FutureWitness,
        Self::Return,
        Self::TooLong,
    ];

    /// Whether this module can spend it.
    pub const fn can_be_spent(self) -> bool {
        !matches!(
            self,
            Self::UncompressedKey
                | Self::Multisig
                | Self::FutureWitness
                | Self::Return
                | Self::TooLong
        )
    }
}

/// The keys of all outputs.
pub struct Owner {
    secp: Secp256k1<All>,
    secret: SecretKey,
}

/// A coin that can be spent.
#[derive(Clone, Copy, Debug)]
pub struct Coin {
    pub outpoint: OutPoint,
    pub lock: Lock,
    pub satoshi: u64,
    /// Height of the block that makes it.
    pub made: u32,
    /// Height from which on it may be spent.
    pub mature: u32,
}

fn truth() -> ScriptBuf {
    Builder::new().push_opcode(OP_PUSHNUM_1).into_script()
}

fn nested() -> ScriptBuf {
    truth().to_p2wsh()
}

impl Owner {
    pub fn new() -> Self {
        Self {
            secp: Secp256k1::new(),
            secret: SecretKey::from_slice(&[7; 32]).expect("a number below the order"),
        }
    }

    fn public(&self) -> PublicKey {
        PublicKey::new(self.secret.public_key(&self.secp))
    }

    fn taproot(&self) -> TaprootSpendInfo {
        let builder = TaprootBuilder::new().add_leaf(0, truth());
        let key = UntweakedPublicKey::from(self.secret.public_key(&self.secp));
        let finished = builder.expect("one leaf").finalize(&self.secp, key);
        finished.expect("a whole tree")
    }

    /// The output's script.
    pub fn script(&self, lock: Lock) -> ScriptBuf {
        let key = self.public();
        match lock {
            Lock::Nothing => ScriptBuf::new(),
            Lock::True => truth(),
            Lock::PublicKey => ScriptBuf::new_p2pk(&key),
            Lock::PublicKeyHash => ScriptBuf::new_p2pkh(&key.pubkey_hash()),
            Lock::ScriptHash => truth().to_p2sh(),
            Lock::WitnessKeyHash => {
                ScriptBuf::new_p2wpkh(&CompressedPublicKey(key.inner).wpubkey_hash())
            }
            Lock::WitnessScriptHash => truth().to_p2wsh(),
            Lock::NestedWitness => nested().to_p2sh(),
            Lock::Taproot => ScriptBuf::new_p2tr_tweaked(self.taproot().output_key()),
            Lock::Long(length) => ScriptBuf::from_bytes(vec![0x51; usize::from(length)]),
            Lock::UncompressedKey => ScriptBuf::new_p2pk(&PublicKey {
                compressed: false,
                ..key
            }),
            Lock::Multisig => Builder::new()
                .push_int(1)
                .push_key(&key)
                .push_key(&key)
                .push_int(2)
                .push_opcode(bitcoin::opcodes::all::OP_CHECKMULTISIG)
                .into_script(),
            Lock::FutureWitness => Builder::new()
                .push_int(16)
                .push_slice([9; 40])
                .into_script(),
            Lock::Return => Builder::new()
                .push_opcode(OP_RETURN)
                .push_slice([1, 2, 3])
                .into_script(),
            Lock::TooLong => ScriptBuf::from_bytes(vec![0x51; 10_001]),
        }
    }

    /// A transaction that spends coins into outputs, signed where that is needed.
    pub fn spend(&self, coins: &[Coin], output: Vec<TxOut>) -> Transaction {
        let input = coins.iter().map(|coin| TxIn {
            previous_output: coin.outpoint,
            sequence: Sequence::MAX,
            ..TxIn::default()
        });
        let mut transaction = Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: input.collect(),
            output,
        };
        for (at, coin) in coins.iter().enumerate() {
            let (script_sig, witness) = self.unlock(&transaction, at, coin);
            transaction.input[at].script_sig = script_sig;
            transaction.input[at].witness = witness;
        }
        transaction
    }

    fn unlock(&self, transaction: &Transaction, at: usize, coin: &Coin) -> (ScriptBuf, Witness) {
        let empty = (ScriptBuf::new(), Witness::new());
        let script = self.script(coin.lock);
        let key = self.public();
        match coin.lock {
            Lock::Nothing => (truth(), Witness::new()),
            Lock::PublicKey => {
                let signature = self.legacy(transaction, at, &script);
                (Builder::new().push_slice(signature).into_script(), empty.1)
            }
            Lock::PublicKeyHash => {
                let signature = self.legacy(transaction, at, &script);
                let unlocking = Builder::new().push_slice(signature).push_key(&key);
                (unlocking.into_script(), empty.1)
            }
            Lock::ScriptHash => (pushing(&truth()), empty.1),
            Lock::WitnessKeyHash => {
                let mut cache = SighashCache::new(transaction);
                let all = EcdsaSighashType::All;
                let hash = cache
                    .p2wpkh_signature_hash(at, &script, Amount::from_sat(coin.satoshi), all)
                    .expect("an input of the transaction");
                let signature = self.sign(hash.to_byte_array());
                (empty.0, Witness::p2wpkh(&signature, &key.inner))
            }
            Lock::WitnessScriptHash => (empty.0, Witness::from_slice(&[truth().as_bytes()])),
            Lock::NestedWitness => (
                pushing(&nested()),
                Witness::from_slice(&[truth().as_bytes()]),
            ),
            Lock::Taproot => {
                let leaf = (truth(), LeafVersion::TapScript);
                let control = self.taproot().control_block(&leaf).expect("its leaf");
                let control = control.serialize();
                (empty.0, Witness::from_slice(&[truth().to_bytes(), control]))
            }
            _ => empty,
        }
    }

    fn legacy(&self, transaction: &Transaction, at: usize, script: &ScriptBuf) -> PushBytesBuf {
        let cache = SighashCache::new(transaction);
        let hash = cache.legacy_signature_hash(at, script, EcdsaSighashType::All.to_u32());
        let hash = hash.expect("an input of the transaction").to_byte_array();
        PushBytesBuf::try_from(self.sign(hash).to_vec()).expect("72 bytes")
    }

    fn sign(&self, hash: [u8; 32]) -> ecdsa::Signature {
        let message = Message::from_digest(hash);
        ecdsa::Signature::sighash_all(self.secp.sign_ecdsa(&message, &self.secret))
    }
}

fn pushing(script: &ScriptBuf) -> ScriptBuf {
    let bytes = PushBytesBuf::try_from(script.to_bytes()).expect("a short script");
    Builder::new().push_slice(bytes).into_script()
}
