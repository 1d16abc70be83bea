//! Sends the response headers at once, then each piece of the request body as it comes, then its
//! trailers. Holds one piece at a time, whatever the body's length. Says which trailers it will
//! send if the request said so: HTTP/1 needs that.

use wasip2::{
    http::types::{IncomingBody, IncomingRequest, OutgoingBody, ResponseOutparam},
    io::streams::StreamError,
};

wasip2::http::proxy::export!(Echo);

struct Echo;

impl wasip2::exports::http::incoming_handler::Guest for Echo {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let trailer_names = request.headers().get("trailer");
        let incoming = request.consume().expect("the body is taken once");
        let outgoing = http_answer::start_with(
            out,
            200,
            &[
                ("content-type", vec![b"application/octet-stream".to_vec()]),
                ("trailer", trailer_names),
            ],
        );
        {
            let from = incoming.stream().expect("the stream is taken once");
            let to = outgoing.write().expect("the stream is taken once");
            loop {
                match to.blocking_splice(&from, 64 * 1024) {
                    Ok(_) => {}
                    Err(StreamError::Closed) => break,
                    // The client went: what is left has nobody to go to.
                    Err(StreamError::LastOperationFailed(_)) => return,
                }
            }
            let _ = to.blocking_flush();
        }
        let trailers = IncomingBody::finish(incoming);
        trailers.subscribe().block();
        let trailers = match trailers.get() {
            Some(Ok(Ok(trailers))) => trailers,
            _ => None,
        };
        let _ = OutgoingBody::finish(outgoing, trailers);
    }
}
