// Package threads follows the spool's log and keeps what a forum's lists are made
// of: the threads of each group by last activity and by beginning, who answers
// whom, and the articles of each signer. It answers without opening an article.
//
// Articles are joined as JWZ describes (https://www.jwz.org/doc/threading.html):
// by References first, an article that is not here leaving a ghost in its place,
// and, without References, an answer ("Re:") by its subject. A thread is one
// thing across all groups it is crossposted to.
//
// The tables lie in cache.db and can be dropped at any time: with another spool
// id, or none, the index begins again at the start of the log. There are no
// removal events: what is shown is asked of the spool first, and Sweep forgets
// what is gone.
//
//	threads.meta   "cursor" -> spool id, Seq
//	threads.art    id hash -> what is known of an article, ghosts too
//	threads.post   root hash, Seq -> id hash
//	threads.info   root hash -> the thread as a whole
//	threads.group  group, 0, inverted time, root hash -> highest number (active)
//	threads.born   group, 0, inverted time, root hash -> (newest)
//	threads.subj   group, 0, subject hash -> root hash, time
//	threads.by     identity, inverted time, Seq -> id hash
package threads
