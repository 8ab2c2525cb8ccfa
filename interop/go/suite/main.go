// Runs the client's own tests and prints each case as interop/run reads it.
//
//	suite MODULE-FOLDER KNOWN-FILE
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// event is a line of go test -json.
type event struct{ Action, Test, Output string }

// known is a line of the known file: a test, and why it does not pass or is not run.
type known struct{ test, reason string }

const notRun = "not run: "

func main() {
	folder, expectations := os.Args[1], readKnown(os.Args[2])
	var skipped []string
	for _, it := range expectations {
		if strings.HasPrefix(it.reason, notRun) {
			fmt.Printf("known suite: %s - %s\n", it.test, it.reason)
			skipped = append(skipped, regexp.QuoteMeta(it.test))
		}
	}
	// The module's go.sum covers its tests; vet is its author's business.
	command := exec.Command("go", "test", "-json", "-vet=off", "-count=1", "-tags", "integration", "-timeout", "5m",
		"-skip", "^("+strings.Join(skipped, "|")+")$", ".")
	command.Dir, command.Stderr = folder, os.Stderr
	output, err := command.StdoutPipe()
	exitOn(err)
	exitOn(command.Start())

	said := map[string]*strings.Builder{}
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var it event
		exitOn(json.Unmarshal(lines.Bytes(), &it))
		if said[it.Test] == nil {
			said[it.Test] = &strings.Builder{}
		}
		if it.Action == "output" {
			fmt.Fprint(os.Stderr, it.Output)
			said[it.Test].WriteString(it.Output)
		} else if it.Test != "" {
			report(it, said[it.Test].String(), expectations)
		}
	}
	exitOn(lines.Err())
	// go test ends with 1 if a case failed, which its line says already; a suite that does not build has no lines.
	if err := command.Wait(); err != nil && command.ProcessState.ExitCode() != 1 {
		exitOn(err)
	}
}

func report(it event, said string, expectations []known) {
	switch it.Action {
	case "pass":
		fmt.Printf("ok suite: %s\n", it.Test)
	case "skip":
		fmt.Printf("known suite: %s - skips itself: %s\n", it.Test, essence(said))
	case "fail":
		for _, expected := range expectations {
			if expected.test == it.Test {
				fmt.Printf("known suite: %s - %s\n", it.Test, expected.reason)
				return
			}
		}
		fmt.Printf("not ok suite: %s - %s\n", it.Test, essence(said))
	}
}

// essence is what a test said, on one line and without go test's own words.
func essence(said string) string {
	var words []string
	for _, line := range strings.Split(said, "\n") {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			words = append(words, strings.Fields(line)...)
		}
	}
	text := strings.Join(words, " ")
	return text[:min(len(text), 300)]
}

func readKnown(path string) (all []known) {
	file, err := os.ReadFile(path)
	exitOn(err)
	for _, line := range strings.Split(string(file), "\n") {
		test, reason, found := strings.Cut(line, " - ")
		if found && !strings.HasPrefix(line, "#") {
			all = append(all, known{test, reason})
		}
	}
	return all
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
