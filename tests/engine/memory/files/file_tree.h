#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tests/engine/memory/files/file_operation.h"

namespace msa::engine {

// The files and directories of a SimulatedFileSystem as its callers see them. Tells of every change.
// Paths start with "/". Not thread-safe.
class FileTree {
 public:
  struct Node {
    uint64_t id = 0;
    bool is_directory = false;
    std::map<std::string, std::shared_ptr<Node>> entries;
    std::string bytes;
  };
  using NodePtr = std::shared_ptr<Node>;
  using Changed = std::function<void(FileOperation)>;

  explicit FileTree(Changed changed);

  NodePtr Find(const std::string& path) const;  // null: nothing there
  absl::StatusOr<NodePtr> FindDirectory(const std::string& path) const;
  // NOT_FOUND, where it is not to be made.
  absl::StatusOr<NodePtr> FindFile(const std::string& path, bool makes);
  absl::Status MakeDirectories(const std::string& path);
  absl::Status Rename(const std::string& from, const std::string& to);  // in one directory
  void RemoveTree(const std::string& path);                             // a file too

  void Write(Node* file, uint64_t offset, const std::string& bytes);
  void Truncate(Node* file, uint64_t size);

  DiskImage Contents() const;

 private:
  absl::StatusOr<NodePtr> ParentOf(const std::string& path, std::string* name) const;
  NodePtr Make(Node* parent, const std::string& name, bool is_directory);
  void Remove(Node* parent, std::string name);  // a copy: it may be a key of what goes

  const Changed changed_;
  const NodePtr root_;
  uint64_t next_id_ = 1;
};

}  // namespace msa::engine
