//! Burns the canister's cycles without taking what the heartbeat's own call costs.
//!
//! Where messages cost cycles, a call takes its price when it starts. Burning before would leave
//! nothing for it, and no heartbeat would ever get a block: so the call starts first.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

/// Starts `call`, runs `then` once, and waits for the call. On the Internet Computer a call is made
/// when it is first polled.
pub async fn start_then<F: Future>(call: F, then: impl FnOnce()) -> F::Output {
    let mut call = pin!(call);
    let started = std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
    then();
    match started {
        Poll::Ready(output) => output,
        Poll::Pending => call.await,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::{Context, Waker};

    use super::*;

    /// What a canister may spend.
    struct Purse {
        liquid: Cell<u64>,
        burnt: Cell<u64>,
    }

    impl Purse {
        fn with(liquid: u64) -> Self {
            Self {
                liquid: Cell::new(liquid),
                burnt: Cell::new(0),
            }
        }

        fn burn_all(&self) {
            self.burnt.set(self.burnt.get() + self.liquid.replace(0));
        }

        /// A call that takes its price when it is first polled, and is answered at the poll after
        /// `pending` more; without the price it fails at once.
        fn call(
            &self,
            price: u64,
            mut pending: u32,
        ) -> impl Future<Output = Result<(), &'static str>> {
            let mut is_paid = false;
            std::future::poll_fn(move |_| {
                if !is_paid && self.liquid.get() < price {
                    return Poll::Ready(Err("insufficient liquid cycles"));
                }
                if !is_paid {
                    self.liquid.set(self.liquid.get() - price);
                    is_paid = true;
                }
                if pending == 0 {
                    return Poll::Ready(Ok(()));
                }
                pending -= 1;
                Poll::Pending
            })
        }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn a_call_gets_its_price_and_all_else_burns_once() {
        for pending in [0, 1, 3] {
            let purse = Purse::with(1_000);
            let outcome = run(start_then(purse.call(300, pending), || purse.burn_all()));
            assert_eq!(outcome, Ok(()), "{pending}");
            assert_eq!(
                (purse.liquid.get(), purse.burnt.get()),
                (0, 700),
                "{pending}"
            );
        }
    }

    #[test]
    fn a_call_that_cannot_be_paid_does_not_keep_the_rest_from_burning() {
        let purse = Purse::with(200);
        let outcome = run(start_then(purse.call(300, 1), || purse.burn_all()));
        assert!(outcome.is_err());
        assert_eq!((purse.liquid.get(), purse.burnt.get()), (0, 200));
    }
}
