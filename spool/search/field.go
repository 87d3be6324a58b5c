package search

import (
	"github.com/blevesearch/bleve/v2/document"
	index "github.com/blevesearch/bleve_index_api"
)

// field is a field of a document whose words are found already: bleve is to write
// them, not to look for them. Where in the text a word stands is not kept, only as
// which one it comes: excerpts are made from the article.
type field struct {
	name    string
	options index.FieldIndexingOptions
	length  int // words
	octets  int
	terms   index.TokenFrequencies
}

var _ document.Field = (*field)(nil)

// places are locations that all documents share: a place is all they say.
type places []*index.TokenLocation

// at returns the location of a place, from 1 on.
func (p *places) at(place int) *index.TokenLocation {
	for len(*p) < place {
		more := make([]index.TokenLocation, 1024)
		for i := range more {
			more[i].Position = len(*p) + 1
			*p = append(*p, &more[i])
		}
	}
	return (*p)[place-1]
}

// The options of the fields. What has no frequencies is not ranked.
const (
	withPlaces = index.IndexField | index.IncludeTermVectors
	withCounts = index.IndexField
	only       = index.IndexField | index.SkipFreqNorm
	sorting    = only | index.DocValues
)

func newField(name string, options index.FieldIndexingOptions, size int) *field {
	return &field{name: name, options: options, terms: make(index.TokenFrequencies, size)}
}

// maxPlaces is how many places of one word are kept of an article. bleve compares each
// place of a phrase's word with each of the next: 32,000 times the same letter took it
// half a minute, which no time limit of the search ends.
const maxPlaces = 256

// add adds a word; where is nil if its place is not kept.
func (f *field) add(t term, where *index.TokenLocation) {
	f.length++
	tf := f.terms[t.text]
	if tf == nil {
		tf = &index.TokenFreq{Term: t.octets}
		f.terms[t.text] = tf
	}
	if !f.options.SkipFreqNorm() {
		tf.SetFrequency(tf.Frequency() + 1)
	}
	if where != nil && len(tf.Locations) < maxPlaces {
		tf.Locations = append(tf.Locations, where)
	}
}

// word adds a word as it is.
func (f *field) word(s string) { f.add(term{s, []byte(s)}, nil) }

// The rest is document.Field.

func (f *field) Name() string                                     { return f.name }
func (f *field) ArrayPositions() []uint64                         { return nil }
func (f *field) Options() index.FieldIndexingOptions              { return f.options }
func (f *field) Analyze()                                         {}
func (f *field) Value() []byte                                    { return nil }
func (f *field) NumPlainTextBytes() uint64                        { return uint64(f.octets) }
func (f *field) Size() int                                        { return f.octets }
func (f *field) EncodedFieldType() byte                           { return 't' }
func (f *field) AnalyzedLength() int                              { return f.length }
func (f *field) AnalyzedTokenFrequencies() index.TokenFrequencies { return f.terms }
