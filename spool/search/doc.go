// Package search is the full-text index (bleve): a follower of the spool's log that
// may be deleted and grown again at any time. It holds words and places only;
// excerpts come from the spool.
//
// Every article is analysed in one language, found by its most common words:
// German, English, or Chinese, Japanese and Korean as pairs of signs. A question
// is asked in all of them.
//
// What is removed from the spool is found until the next sweep; who asks looks
// each id up in the spool anyway.
package search
