// The verb `orloj completion`: prints the script by which a shell completes command lines of orloj.
// Called by main.ts. The scripts ask `orloj __complete` (complete.ts) for what may come next, and know nothing else.

import { Argument, type Command } from "commander";
import type { Context } from "./context.ts";

/** Hidden word that asks for what may come next. */
export const COMPLETE = "__complete";
/** Line that stands for: names of files. */
export const FILES = ":files";

const BASH = `# Completion of orloj for bash: source <(orloj completion bash)
_orloj_complete() {
  local line value
  COMPREPLY=()
  while IFS= read -r line; do
    value="\${line%%$'\\t'*}"
    if [[ "$value" == "${FILES}" ]]; then
      compopt -o default 2>/dev/null
      COMPREPLY=()
      return
    fi
    [[ -n "$value" ]] && COMPREPLY+=("$value")
  done < <("\${COMP_WORDS[0]}" ${COMPLETE} -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  if [[ \${#COMPREPLY[@]} -eq 1 && "\${COMPREPLY[0]}" == */ ]]; then
    compopt -o nospace 2>/dev/null
  fi
}
complete -F _orloj_complete orloj
`;

const ZSH = `#compdef orloj
# Completion of orloj for zsh: source <(orloj completion zsh), or as _orloj in a folder of $fpath.
_orloj() {
  local line value about
  local -a found
  for line in "\${(@f)$("\${words[1]}" ${COMPLETE} -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    value="\${line%%$'\\t'*}"
    about="\${line#*$'\\t'}"
    if [[ "$value" == "${FILES}" ]]; then
      _files
      return
    fi
    [[ -n "$value" ]] && found+=("\${value//:/\\\\:}:$about")
  done
  _describe 'orloj' found
}
compdef _orloj orloj
`;

const FISH = `# Completion of orloj for fish: orloj completion fish > ~/.config/fish/completions/orloj.fish
function __orloj_complete
  set -l words (commandline -opc) (commandline -ct)
  for line in ($words[1] ${COMPLETE} -- $words[2..-1] 2>/dev/null)
    if test "$line" = "${FILES}"
      __fish_complete_path (commandline -ct)
    else
      echo $line
    end
  end
end
complete -c orloj -f -a '(__orloj_complete)'
`;

const SCRIPTS: Readonly<Record<string, string>> = { bash: BASH, zsh: ZSH, fish: FISH };

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("completion")
    .description("Print the script by which a shell completes orloj: source <(orloj completion bash)")
    .addArgument(new Argument("<shell>", "your shell").choices(Object.keys(SCRIPTS)))
    .action((shell: string) => context.host.out(SCRIPTS[shell] as string));
}
