//! Protobuf over gRPC as tonic does it, with buffers of the size that workloads need.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::BufferSettings;
use tonic_prost::ProstCodec;

/// Bytes of a stream's buffer for messages that go out, which it keeps as long as it is open: tonic's 8 KiB would be
/// most of what an idle stream costs. One SVID with its bundle has some 1.5 KiB; larger messages make it grow.
const ENCODE_BYTES: usize = 1 << 10;
/// Bytes of the buffer for one request.
const DECODE_BYTES: usize = 256;
/// Bytes after which what was encoded is passed on.
const YIELD_BYTES: usize = 32 << 10;

/// The codec of the Workload API's server.
#[derive(Debug, Clone, Copy)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as tonic::codec::Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as tonic::codec::Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(ENCODE_BYTES, YIELD_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(DECODE_BYTES, YIELD_BYTES))
    }
}
