//! The server as its clients see it: unmodified `pocket-ic` clients, `ic-agent`, and raw HTTP.

mod admin;
mod agent;
mod client_calls;
mod client_eleven;
mod control;
mod flexible_outcalls;
mod gateway;
mod lifetime;
mod outcalls;
mod raw_http;
mod replica_binary;
mod sender_info;
mod snapshots;
mod support;
