package torrent

import (
	"bytes"
	"crypto/sha1"
	"errors"

	bt "github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/bencode"
	pp "github.com/anacrolix/torrent/peer_protocol"
)

// gathered is what peers sent of a torrent's metadata (BEP 9). The engine keeps it to
// itself when it cannot read it, and asks the next peer for the same octets; here it is
// read once more, so that the fetch ends with the reason.
type gathered struct {
	h      Infohash
	total  int // octets, as the last peer said
	pieces map[int][]byte
	out    chan<- []byte // what has the infohash
}

const (
	metadataPiece = 16 << 10 // BEP 9
	gatherMax     = 16 << 20 // as the engine
)

// gather is called with the engine's lock held, so one message at a time.
func (e *Engine) gather(m bt.PeerConnReadExtensionMessageEvent) {
	g, ok := e.unread.Load(Infohash(m.PeerConn.Torrent().InfoHash()))
	if !ok {
		return
	}
	if name, _, err := m.PeerConn.LocalLtepProtocolMap.LookupId(m.ExtensionNumber); err == nil && name == pp.ExtensionNameMetadata {
		g.(*gathered).take(m.Payload)
	}
}

// take reads one message: a dictionary, and behind it a piece.
func (g *gathered) take(payload []byte) {
	var m pp.ExtendedMetadataRequestMsg
	var behind bencode.ErrUnusedTrailingBytes
	if err := bencode.Unmarshal(payload, &m); !errors.As(err, &behind) || m.Type != pp.DataMetadataExtensionMsgType {
		return
	}
	if m.TotalSize <= 0 || m.TotalSize > gatherMax || m.Piece < 0 || m.Piece > m.TotalSize/metadataPiece || behind.NumUnusedBytes == 0 || behind.NumUnusedBytes != m.PieceSize() {
		return
	}
	if m.TotalSize != g.total {
		g.total, g.pieces = m.TotalSize, map[int][]byte{}
	}
	g.pieces[m.Piece] = bytes.Clone(payload[len(payload)-behind.NumUnusedBytes:])
	n := (g.total + metadataPiece - 1) / metadataPiece
	if len(g.pieces) < n {
		return
	}
	var raw []byte
	for i := range n {
		raw = append(raw, g.pieces[i]...)
	}
	g.total = 0 // if somebody lied, all is asked for again
	if Infohash(sha1.Sum(raw)) != g.h {
		return
	}
	select {
	case g.out <- raw:
	default:
	}
}
