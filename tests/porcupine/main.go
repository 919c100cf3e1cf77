// Judges histories of registers with Porcupine, a linearizability checker that knows nothing of Hansa's own
// (tests/lib/linearizability.py, sim/history.h).
//
// Standard input: one register a line, {"name": "...", "operations": [[kind, value, call, end], ...]}; kind is "put",
// "get" or "delete"; value a string or null (absent); call and end are nanoseconds, end null where no answer came: the
// write happened at any time after its call, or never. Standard output: {"checked": N, "operations": N, "illegal": [names],
// "undecided": [names]}.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	maxLine = 256 << 20       // bytes of one register's history
	limit   = 2 * time.Minute // for one register
	workers = 2
)

type register struct {
	Name       string              `json:"name"`
	Operations [][]json.RawMessage `json:"operations"`
}

// A value of a register; absent: there is none.
type value struct {
	text    string
	present bool
}

type request struct {
	write bool
	value value // of a write: the new one
}

var model = porcupine.Model{
	Init: func() any { return value{} },
	Step: func(state, input, output any) (bool, any) {
		asked := input.(request)
		if asked.write {
			return true, asked.value
		}
		return state.(value) == output.(value), state
	},
}

func operation(words []json.RawMessage, client int) (porcupine.Operation, error) {
	var kind string
	var text *string
	var call int64
	var end *int64
	if len(words) != 4 {
		return porcupine.Operation{}, fmt.Errorf("an operation has 4 words, not %d", len(words))
	}
	for i, target := range []any{&kind, &text, &call, &end} {
		if err := json.Unmarshal(words[i], target); err != nil {
			return porcupine.Operation{}, err
		}
	}
	given := value{}
	if text != nil {
		given = value{*text, true}
	}
	done := porcupine.Operation{ClientId: client, Call: call, Return: math.MaxInt64}
	if end != nil {
		done.Return = *end
	}
	switch kind {
	case "put", "delete":
		done.Input = request{write: true, value: given}
	case "get":
		done.Input, done.Output = request{}, given
	default:
		return done, fmt.Errorf("an operation is put, get or delete, not %q", kind)
	}
	return done, nil
}

// A write of unknown outcome that nobody saw explains nothing: without it the search is smaller and its verdict the same.
func withoutUnseen(operations []porcupine.Operation) []porcupine.Operation {
	seen := map[value]bool{}
	for _, one := range operations {
		if !one.Input.(request).write {
			seen[one.Output.(value)] = true
		}
	}
	kept := operations[:0]
	for _, one := range operations {
		asked := one.Input.(request)
		if asked.write && one.Return == math.MaxInt64 && !seen[asked.value] {
			continue
		}
		kept = append(kept, one)
	}
	return kept
}

func judge(line []byte) (string, int, porcupine.CheckResult, error) {
	var one register
	if err := json.Unmarshal(line, &one); err != nil {
		return "", 0, porcupine.Unknown, err
	}
	operations := make([]porcupine.Operation, 0, len(one.Operations))
	for i, words := range one.Operations {
		parsed, err := operation(words, i)
		if err != nil {
			return one.Name, 0, porcupine.Unknown, err
		}
		operations = append(operations, parsed)
	}
	return one.Name, len(operations), porcupine.CheckOperationsTimeout(model, withoutUnseen(operations), limit), nil
}

func main() {
	type verdicts struct {
		Checked    int      `json:"checked"`
		Operations int      `json:"operations"`
		Illegal    []string `json:"illegal"`
		Undecided  []string `json:"undecided"`
	}
	all := verdicts{Illegal: []string{}, Undecided: []string{}}
	lines := make(chan []byte)
	var lock sync.Mutex
	var running sync.WaitGroup
	for range workers {
		running.Add(1)
		go func() {
			defer running.Done()
			for line := range lines {
				name, count, result, err := judge(line)
				lock.Lock()
				if err != nil {
					fmt.Fprintf(os.Stderr, "porcupine-check: %s: %v\n", name, err)
					os.Exit(2)
				}
				all.Checked++
				all.Operations += count
				switch result {
				case porcupine.Illegal:
					all.Illegal = append(all.Illegal, name)
				case porcupine.Unknown:
					all.Undecided = append(all.Undecided, name)
				}
				lock.Unlock()
			}
		}()
	}
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(make([]byte, 1<<20), maxLine)
	for input.Scan() {
		lines <- append([]byte(nil), input.Bytes()...)
	}
	close(lines)
	running.Wait()
	if err := input.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "porcupine-check:", err)
		os.Exit(2)
	}
	sort.Strings(all.Illegal)
	sort.Strings(all.Undecided)
	if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
		os.Exit(2)
	}
}
