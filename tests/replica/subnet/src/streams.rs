//! Messages between subnets, and of canisters for the management canister: delivered between rounds.

use crate::error::RejectCode;
use crate::message::{CanisterMessage, Request};
use crate::network::Network;
use crate::topology::SubnetId;

impl Network {
    /// Carries what the subnets sent in the last round to where it goes.
    pub(crate) fn deliver_streams(&mut self) {
        let mut messages = Vec::new();
        for (id, subnet) in &mut self.subnets {
            messages.extend(subnet.state.outbox.drain(..).map(|message| (*id, message)));
        }
        for (from, message) in messages {
            match message {
                CanisterMessage::Response(response) => {
                    let home = self.env.routing.subnet_of(&response.originator);
                    if let Some(subnet) = home.and_then(|home| self.subnets.get_mut(&home)) {
                        subnet.receive(CanisterMessage::Response(response));
                    }
                }
                CanisterMessage::Request(request) => self.deliver_request(from, request),
            }
        }
    }

    /// Hands a request to its subnet, or its rejection back to the sender's.
    fn deliver_request(&mut self, from: SubnetId, request: Request) {
        let rejection = match self.check_request(&from, &request) {
            Ok(to) => {
                if let Some(subnet) = self.subnets.get_mut(&to) {
                    subnet.receive(CanisterMessage::Request(request));
                }
                return;
            }
            Err((code, text)) => request.reject(code, text),
        };
        if let Some(subnet) = self.subnets.get_mut(&from) {
            subnet.receive(rejection);
        }
    }

    /// Returns the subnet a request goes to, or why it does not go anywhere.
    fn check_request(
        &self,
        from: &SubnetId,
        request: &Request,
    ) -> Result<SubnetId, (RejectCode, String)> {
        let to = self.env.routing.route_request(from, request)?;
        let limit = self
            .subnets
            .get(from)
            .map_or(u64::MAX, |s| s.limits().inter_canister_bytes);
        let bytes = request.payload.len() as u64;
        if to != *from && bytes > limit {
            return Err((
                RejectCode::CanisterError,
                format!(
                    "the argument of {bytes} bytes exceeds the limit of {limit} bytes for calls between subnets"
                ),
            ));
        }
        if !self.subnets.contains_key(&to) {
            return Err((
                RejectCode::DestinationInvalid,
                format!("subnet {to} does not exist"),
            ));
        }
        Ok(to)
    }
}
