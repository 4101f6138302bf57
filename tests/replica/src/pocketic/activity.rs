//! Tells when the server has been idle for its time to live.

use axum::extract::State;
use axum::middleware::Next;
use axum::response::Response;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts requests in flight and remembers when the last one ended.
#[derive(Debug)]
pub struct Activity {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    in_flight: usize,
    last_end: Instant,
}

/// One request in flight, until dropped.
pub struct Request<'a>(&'a Activity);

impl Activity {
    /// Returns an idle counter whose idle time starts now.
    pub fn new(now: Instant) -> Self {
        Self {
            inner: Mutex::new(Inner {
                in_flight: 0,
                last_end: now,
            }),
        }
    }

    /// Notes the start of a request.
    pub fn begin(&self) -> Request<'_> {
        self.lock().in_flight += 1;
        Request(self)
    }

    /// Returns whether no request is in flight and the last one ended at least `ttl` before `now`.
    pub fn idle_for(&self, ttl: Duration, now: Instant) -> bool {
        let inner = self.lock();
        inner.in_flight == 0 && now.saturating_duration_since(inner.last_end) >= ttl
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.in_flight -= 1;
        inner.last_end = Instant::now();
    }
}

/// Middleware: counts a request as activity until it is answered.
pub async fn count_request(
    State(activity): State<Arc<Activity>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let _in_flight = activity.begin();
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_idle_only_without_requests_and_after_the_time_to_live() {
        let start = Instant::now();
        let ttl = Duration::from_secs(60);
        let activity = Activity::new(start);
        assert!(!activity.idle_for(ttl, start + Duration::from_secs(59)));
        assert!(activity.idle_for(ttl, start + ttl));
        let request = activity.begin();
        let much_later = start + Duration::from_secs(3_600);
        assert!(!activity.idle_for(ttl, much_later));
        drop(request);
        assert!(activity.idle_for(ttl, much_later));
    }
}
