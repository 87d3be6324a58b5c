package batch

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxLayers is how often a batch may be packed: a file that unpacks to itself is known.
const maxLayers = 3

// Unpack takes off all packing that it knows: gzip, bzip2 and zstd, with or without the
// line "#! gunbatch" (cunbatch, zunbatch, ...) that rnews scripts put before it. What
// is not packed comes out as it is.
func Unpack(r io.Reader) (*bufio.Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	for range maxLayers {
		out, err := unpack(in)
		if err != nil || out == nil {
			return in, err
		}
		in = bufio.NewReaderSize(out, 64<<10)
	}
	return nil, fmt.Errorf("batch: it is packed over %d times", maxLayers)
}

// maxWindow bounds the memory that zstd may ask for: what --ultra and --long need is more.
const maxWindow = 32 << 20

// unpack takes one layer off, or returns nil.
func unpack(in *bufio.Reader) (io.Reader, error) {
	head, _ := in.Peek(64) // fewer where it is shorter: a read error comes again
	line, rest, _ := bytes.Cut(head, []byte("\n"))
	said := bytes.HasPrefix(line, []byte("#! ")) && bytes.HasSuffix(trimEnd(line), []byte("unbatch"))
	if said {
		_, _ = in.Discard(len(head) - len(rest)) // it was peeked
		head = rest
	}
	has := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	switch {
	case has("\x1f\x8b"):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("batch: %w", err)
		}
		return z, nil
	case has("BZh") && len(head) > 9 && string(head[4:10]) == "1AY&SY":
		return bzip2.NewReader(in), nil
	case has("\x28\xb5\x2f\xfd"):
		// With one worker it has no goroutines: it may be left to the collector.
		z, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("batch: %w", err)
		}
		return z, nil
	case has("\x1f\x9d"):
		return nil, errors.New("batch: it is packed with compress, which is not read here: unpack it first (gzip -dc)")
	case has("\xfd7zXZ\x00"):
		return nil, errors.New("batch: it is packed with xz, which is not read here: unpack it first (xz -dc)")
	case said:
		return nil, fmt.Errorf("batch: behind %q nothing stands that can be unpacked here", trimEnd(line))
	}
	return nil, nil
}
